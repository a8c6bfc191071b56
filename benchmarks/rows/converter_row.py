"""The converter's rows of the table: `benchmarks.rows.converter` at two sizes."""

from __future__ import annotations

from benchmarks.data import coco_data, input_data
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure, Measure
from benchmarks.rows import converter

SMALL, LARGE = 1_600, 12_800  # photos; Model Garden holds all records in memory until the last is made


def _figure(row: converter.ConverterResult) -> Figure | None:
    if row.images_per_second is None:
        return None
    return Figure(row.images_per_second, row.rates, row.cpu_ms_per_image)


def measure(settings: BenchmarkSettings) -> list[Comparison]:
    """Measures rates of whole commands and the growth of memory."""
    source, found = input_data.source(settings), dict[int, dict[str, converter.ConverterResult]]()
    for count in (SMALL, LARGE):
        many = coco_data.repeated(source, count, settings.work / str(count))
        found[count] = {row.side: row for row in converter.measure(many, count, settings.work, settings.rounds)}
    rates = [_rate(count, rows) for count, rows in found.items()]
    peaks = [found[count]["must-records"].peak_mib or 0.0 for count in (SMALL, LARGE)]
    what, note = f"converter's memory, {LARGE:,} over {SMALL:,} images", f"{peaks[1]:.0f} and {peaks[0]:.0f} MiB"
    why = f"{1024 * (peaks[1] - peaks[0]) / (LARGE - SMALL):.1f} KiB for each additional image"
    return [
        *rates,
        Comparison(what, "times", Figure(peaks[1] / peaks[0]), against="", at_most=1.1, note=note, why=why),
    ]


def _rate(count: int, rows: dict[str, converter.ConverterResult]) -> Comparison:
    sides = ("must-records", "Model Garden", "read + write alone")
    ours, model_gardens, floor = (_figure(rows[side]) for side in sides)
    what = f"convert coco, masks, {count:,} images"
    why = _parts(rows["must-records"])
    if model_gardens and floor:
        why += (
            f"; only reading and writing would be {floor.value / model_gardens.value:.1f} times as fast as Model Garden"
        )
    return Comparison(
        what, "images/s", ours, model_gardens, floor, at_least=3.0, note=rows["Model Garden"].note, why=why
    )


def _parts(row: converter.ConverterResult) -> str:
    """Says where the command's time goes."""
    if row.seconds is None or row.converting is None:
        return ""
    return (
        f"{row.seconds - row.converting:.1f} of {row.seconds:.1f} s are start, imports and end; "
        f"{row.converting:.1f} s are converting, at {row.images / row.converting:,.0f} images/s"
    )


ROWS: dict[str, Measure] = {"converter": measure}
