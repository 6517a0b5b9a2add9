"""As few points and pairs as the wished precision of phi needs."""
