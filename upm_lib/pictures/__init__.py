"""Charts and pictures with one palette, one set of sizes and a text for those who cannot see them.

In: arrays, tables and names. Out: a :class:`~upm_lib.pictures.canvas.Picture`, which a notebook
shows and ``canvas.save`` writes. This room never sees a run or a network; it uses the ground only.
Files: canvas -> toyworld, drawings, photos, charts.
"""
