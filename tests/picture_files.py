"""What every picture of the library keeps to."""

from collections.abc import Callable

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def check_figure(draw: Callable[[], Figure]) -> None:
    """It fits the page, has no small text, tells what it shows, and leaves no state behind."""
    before = dict(matplotlib.rcParams)
    fig = draw()
    assert isinstance(fig, Figure)
    assert fig.axes
    assert fig.get_figwidth() <= 7
    assert fig.dpi == 100
    fig.draw_without_rendering()
    inked = fig.get_tightbbox()
    assert min(inked.x0, inked.y0, fig.get_figwidth() - inked.x1) > -0.02
    assert inked.y1 < fig.get_figheight() + 0.02
    shown = [text for text in fig.findobj(matplotlib.text.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in shown) >= 8
    assert fig.alt.strip().endswith(".") and len(fig.alt) > 20
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before
