"""Pictures with sliders: live where ipywidgets and a kernel are at hand, else the first picture."""

import base64
import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from upm_lib.config import PARTS
from upm_lib.experiments import analysis, measuring
from upm_lib.experiments.bench import Bench
from upm_lib.pictures import photos, toyworld
from upm_lib.pictures.canvas import Picture


class Explorer:
    """A picture that follows sliders: what ``draw`` makes of one value of every choice, by name.

    A slider begins at the first of its values. Jupyter gets both: the widget, and the first picture
    for where no widget can be shown (a page without kernel, a converted notebook, an environment
    without ipywidgets).
    """

    def __init__(self, draw: Callable[..., Picture], **choices: Sequence[Any]) -> None:
        self.draw, self.choices = draw, choices

    def first(self) -> Picture:
        """Return the picture of the first value of every choice."""
        return self.draw(**{name: values[0] for name, values in self.choices.items()})

    def widget(self) -> Any:
        """Return the sliders over the picture; raises ImportError without ipywidgets."""
        import ipywidgets

        view = ipywidgets.HTML()
        sliders = {
            name: ipywidgets.SelectionSlider(options=values, description=name)
            for name, values in self.choices.items()
        }

        def show(_: Any = None) -> None:
            view.value = _as_html(self.draw(**{n: slider.value for n, slider in sliders.items()}))

        for slider in sliders.values():
            slider.observe(show, names="value")
        show()
        return ipywidgets.VBox([*sliders.values(), view])

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        picture = self.first()
        shown, about = picture._repr_mimebundle_()
        try:
            live = self.widget()._repr_mimebundle_()
        except ImportError:
            live = {}
        return live | {"text/plain": repr(picture)} | shown, about


def _as_html(picture: Picture) -> str:
    ((mime, content),) = picture._repr_mimebundle_()[0].items()
    source = f"data:{mime};base64,{base64.b64encode(content).decode()}"
    return f'<img alt="{html.escape(picture.alt)}" src="{source}">'


def ranked_list(
    bench: Bench, methods: Sequence[str] = ("baseline", "fusion"), trial: int = 1, first: int = 0
) -> Explorer:
    """Let the reader pick a probe and see its ranked list and the distances, by method.

    The probe at place ``first`` of the trial's list is shown first.
    """
    probes = measuring.searched(bench, trial).probe
    places = list(range(len(probes)))
    asked = {method: bench.measurement(method, trial) for method in methods}
    found = {method: measuring.ranked(bench, a, places) for method, a in asked.items()}

    def draw(probe: int) -> Picture:
        lists, correct, distances = (
            {method: [side[probe]] for method, side in zip(found, sides, strict=True)}
            for sides in zip(*found.values(), strict=True)
        )
        image = bench.images(probes[[probe]])
        return photos.ranked_lists(image, lists, correct, distances=distances)

    return Explorer(draw, probe=places[first:] + places[:first])


def toy_parts(bench: Bench, people: int = 6, seed: int = 4) -> Explorer:
    """Let the reader choose k in a toy world and see which cyclic pairs are correct.

    The seed decides the colours of its people; each is seen by two cameras.
    """
    cameras = np.repeat([0, 1], people)
    names = [chr(ord("a") + n) for n in range(people)] * 2

    def draw(k: int) -> Picture:
        anchors = analysis.toy_parts(k, people, seed)
        match = analysis.cyclic_pairs(anchors, cameras, bench.config)
        return toyworld.part_worlds(anchors, ["AB"[c] for c in cameras], names, match)

    return Explorer(draw, k=[*reversed(PARTS)])
