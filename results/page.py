"""The frame of every HTML page of the project: one file that needs nothing else and no network.

A template is named `PACKAGE/FILE` and lies in `pages/` of that package, so that a package can keep
its pages and extend `results/frame.html.j2` of this one. Style and script are put into the page;
its policy allows this one script and no request, so a text that got past the escaping still could
not run. `results/pages/charts.html.j2` has the macros that draw.

Left out: any plot that needs more than lines, dots and bars, and any server.
"""

import base64
import hashlib
import math
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from jinja2 import Environment

MINUS: Final = "\N{MINUS SIGN}"
NONE: Final = "\N{EN DASH}"
"""Stands where there is no number."""
TICKS: Final = 5
"""Marks of an axis, about."""
EVEN_STEPS: Final = (1, 2, 2.5, 5, 10)


class Extent(NamedTuple):
    """Lowest and highest of some numbers."""

    lower: float
    upper: float


def render(template: str, **context: object) -> str:
    """A whole page.

    Args:
        template: Such as `selfevo/report.html.j2`: file `report.html.j2` in `selfevo/pages/`.
        context: What the template shows. A name that it uses and that is missing is an error.
    """
    return environment().get_template(template).render(**context)


@cache
def environment() -> "Environment":
    """Jinja with escaping on, undefined names refused, and the filters of the charts."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = page_file("results", "page.js")
    made.globals.update(
        page_style=page_file("results", "page.css"),
        page_script=script,
        page_script_hash=_csp_hash(script),
        ticks=ticks,
        extent=extent,
    )
    made.filters.update(
        number=number, signed=signed, even=even, even_signed=even_signed, percent=percent
    )
    return made


def page_file(package: str, name: str) -> str:
    """The text of a file in `pages/` of a package."""
    return resources.files(package).joinpath("pages", name).read_text(encoding="utf-8")


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, and a count whole: `28.9`, `12.0`, `0.0695`, `1,204`."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    decimals = 0 if isinstance(value, int) else places
    text = f"{abs(value):,.{decimals}f}"
    if abs(value) < 1:
        text = text.rstrip("0").rstrip(".")
    return (MINUS if value < 0 else "") + text


def signed(value: float | None, digits: int = 3) -> str:
    """As `number`, with a sign, also before a gain."""
    return _with_sign(value, number(value, digits))


def even(value: float) -> str:
    """An even number, such as a mark of an axis or a margin, without the zeros: `2.5`, `12`."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def even_signed(value: float | None) -> str:
    """As `even`, with a sign."""
    return NONE if value is None else _with_sign(value, even(value))


def percent(value: float | None, decimals: int = 0) -> str:
    """A share in percent."""
    return NONE if value is None else f"{value:.{decimals}%}".replace("-", MINUS)


def ticks(lower: float, upper: float, n: int = TICKS) -> list[float]:
    """Even numbers between two, about `n` of them, at steps of 1, 2, 2.5 or 5."""
    if not lower < upper:
        return [lower]
    raw = (upper - lower) / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * even for even in EVEN_STEPS if power * even >= raw * (1 - 1e-9))
    first = math.ceil(lower / step - 1e-9)
    last = math.floor(upper / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def extent(values: Iterable[float | None], margin: float = 0.05) -> Extent:
    """The range of the numbers that are there, a little wider; 0 to 1 where there is none."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    if not found:
        return Extent(0.0, 1.0)
    lower, upper = min(found), max(found)
    space = (upper - lower) * margin or abs(upper) * margin or 1.0
    return Extent(lower - space, upper + space)


def _with_sign(value: float | None, text: str) -> str:
    is_gain = value is not None and value > 0 and math.isfinite(value)
    return f"+{text}" if is_gain else text


def _template(name: str) -> str | None:
    package, _, file = name.partition("/")
    try:
        return page_file(package, file)
    except (FileNotFoundError, ModuleNotFoundError):
        return None  # Jinja names the template that it misses


def _csp_hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
