"""A quote as a page of paper: lines, totals, who signed. Pure but for the fonts, which come from their package once a process.

fpdf2 draws it: it is small, pure Python with types, and embeds TrueType fonts, tables and SVG paths, so that names in any alphabet
of Noto Sans and the strokes of a signature come out as they are.
"""

import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from sync.entities import Quote, Signature
from sync.entities.flows import ApprovalStatus, QuoteStatus
from sync.entities.pricing import content_sha256, line_cents, money, totals_of

if TYPE_CHECKING:
    import fpdf

_SVG_PATH: Final = re.compile(r"[MmLlHhVvCcSsQqTtAaZz0-9eE+\-.,\s]+")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_HEADINGS: Final = ("", "Product", "Quantity", "Price", "Discount", "Net")
_WIDTHS: Final = (6, 46, 12, 14, 11, 14)
_RIGHT: Final = ("LEFT", "LEFT", "RIGHT", "RIGHT", "RIGHT", "RIGHT")


class QuotePage(msgspec.Struct, frozen=True):
    """All that stands on it; `names` are products' names by id. `signature` is None while nobody has signed."""

    quote_id: str
    quote: Quote
    seller: str
    customer: str
    subject: str
    currency: str
    names: Mapping[str, str]
    signature: Signature | None = None
    made_ms: int = 0


def render(page: QuotePage) -> bytes:
    """The PDF."""
    import fpdf  # noqa: PLC0415  # slow to load, and few processes ever print

    pdf = fpdf.FPDF()
    fonts = Path(_fonts().name)
    pdf.add_font("Noto", "", fonts / "regular.ttf")
    pdf.add_font("Noto", "B", fonts / "bold.ttf")
    pdf.set_creation_date(_time(page.made_ms))
    pdf.set_title(f"Quote {page.quote.number or page.quote_id}")
    pdf.set_margins(20, 20)
    pdf.add_page()
    _head(pdf, page)
    _lines(pdf, page)
    _sums(pdf, page)
    _signature(pdf, page)
    return bytes(pdf.output())


def _head(pdf: "fpdf.FPDF", page: QuotePage) -> None:
    quote = page.quote
    _say(pdf, page.seller, size=10)
    _say(pdf, f"Quote {quote.number or page.quote_id}", size=18, bold=True)
    _say(pdf, page.customer, bold=True)
    _say(pdf, page.subject)
    if quote.valid_to is not None:
        _say(pdf, f"Valid to {_time(quote.valid_to):%Y-%m-%d}")
    if quote.status is not QuoteStatus.SIGNED:
        _say(pdf, quote.status.value.upper(), bold=True)
    if quote.approval in (ApprovalStatus.REQUIRED, ApprovalStatus.REFUSED):
        _say(pdf, "NOT APPROVED", bold=True)
    pdf.ln(4)


def _lines(pdf: "fpdf.FPDF", page: QuotePage) -> None:
    pdf.set_font("Noto", size=9)
    with pdf.table(col_widths=_WIDTHS, text_align=_RIGHT, borders_layout="HORIZONTAL_LINES") as table:
        table.row(_HEADINGS)
        for key, line in sorted(page.quote.lines.items(), key=lambda entry: (len(entry[0]), entry[0])):
            if line is None:
                continue
            discount = f"{line.discount_pct:g} %" if line.discount_pct else ""
            name = page.names.get(line.product, line.product)
            net = money(line_cents(line, page.quote.discount_pct))
            table.row((key, name, str(line.quantity), money(line.price_cents), discount, net))
    pdf.ln(2)


def _sums(pdf: "fpdf.FPDF", page: QuotePage) -> None:
    quote, sums = page.quote, totals_of(page.quote)
    if quote.discount_pct:
        _say(pdf, f"The nets have {quote.discount_pct:g} % off for the whole quote", align="R")
    _say(pdf, f"Net {money(sums.net_cents)} {page.currency}", align="R")
    if quote.tax_pct:
        _say(pdf, f"Tax {quote.tax_pct:g} % {money(sums.tax_cents)} {page.currency}", align="R")
    _say(pdf, f"Total {money(sums.total_cents)} {page.currency}", align="R", bold=True)
    if quote.notes:
        pdf.ln(2)
        _say(pdf, quote.notes)


def _signature(pdf: "fpdf.FPDF", page: QuotePage) -> None:
    signature, content = page.signature, content_sha256(page.quote)
    pdf.ln(6)
    if signature is not None:
        if drawing := _drawing(signature.strokes):
            pdf.image(BytesIO(drawing), w=60, h=20, keep_aspect_ratio=True)
        _say(pdf, f"Signed by {signature.signer} on {_time(signature.at):%Y-%m-%d %H:%M} UTC", bold=True)
        if signature.sha256 != content:
            _say(pdf, "The signature is not under this content.", bold=True)
    _say(pdf, f"Content {content}", size=7)


def _drawing(strokes: str) -> bytes:
    """The strokes as an SVG image that just holds them; nothing where they are no path."""
    numbers = [float(number) for number in _NUMBER.findall(strokes)]
    if not _SVG_PATH.fullmatch(strokes) or len(numbers) < 4:
        return b""
    left, top = min(numbers[::2]), min(numbers[1::2])
    width, height = max(numbers[::2]) - left or 1, max(numbers[1::2]) - top or 1
    pen = max(width, height) / 80
    box = f"{left - pen} {top - pen} {width + 2 * pen} {height + 2 * pen}"
    path = f'<path d="{strokes}" fill="none" stroke="black" stroke-width="{pen}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{path}</svg>'.encode()


def _say(pdf: "fpdf.FPDF", words: str, *, size: int = 10, bold: bool = False, align: str = "L") -> None:
    pdf.set_font("Noto", "B" if bold else "", size)
    pdf.multi_cell(0, text=words, align=align, new_x="LMARGIN", new_y="NEXT")


def _time(ms: int) -> datetime:
    """The instant; one beyond the calendar is its last second."""
    return datetime.fromtimestamp(min(ms / 1000, 253_402_300_799), UTC)


@cache
def _fonts() -> tempfile.TemporaryDirectory[str]:
    """A directory with the fonts as files, which is how they are read; it goes with the process."""
    import pymupdf_fonts  # noqa: PLC0415  # see `render`

    directory = tempfile.TemporaryDirectory(prefix="truckroll-fonts-")
    for name, font in (("regular", "notos"), ("bold", "notosbo")):
        (Path(directory.name) / f"{name}.ttf").write_bytes(pymupdf_fonts.myfont(font))
    return directory
