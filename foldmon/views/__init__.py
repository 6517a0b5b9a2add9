"""Looking at a run: every view reads the journal, none is needed to write it.

- ``run``: a run as all views see it, kept small however long: rows, the best probe, what changed, words.
- ``tensorboard``: the plugin that serves the Folding tab. ``static``: its page, which is the report's too.
- ``page``: the report, one HTML file with its tables and figures.
- ``live``: the run in a terminal, one line a probe or, with rich, the picture of ``terminal``.
- ``notebook``: HTML without a script. ``plots``: figures of matplotlib.
- ``text``: numbers, names and curves as characters, for any of them.

The page's charts are drawn by hand: 26 kB of plain modules run unbuilt under TensorBoard's content policy
(own scripts only) and fit into one report that needs no network; charting libraries are many times that.
"""
