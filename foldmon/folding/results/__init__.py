"""What a measurement gives: distances, folding and its statistics, decisions, coverage."""
