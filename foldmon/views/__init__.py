"""Looking at a run: the Folding tab, the report, the terminal, the notebook, figures."""
