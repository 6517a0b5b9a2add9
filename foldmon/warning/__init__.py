"""Early warning: signals from the report history, and a detector over them."""
