"""What the kinds calculate, on inputs that others get wrong: missing values, mixed types, odd files."""

import gc
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.problems import Problem
from tasks_service.kinds import data_operations, file_operations
from tasks_service.kinds.tables import rows_of
from tasks_service.kinds.values import of_cell

ROWS: list[dict[str, Any]] = [
    {"region": "north", "amount": 10, "tag": "a,b"},
    {"region": "south", "amount": 2.5},
    {"region": "north", "amount": None},
    {"amount": 7, "tag": ["a", 1]},
    {"region": True, "amount": 0},
]


def _silent(percent: float, message: str | None) -> None:
    return None


def processed(operation: str, field: str | None, rows: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"operation": operation, "field": field, "parameters": parameters, "max_bytes": 10_000}
    found: dict[str, Any] = orjson.loads(data_operations.process(_silent, rows=rows, **asked))
    return found


@pytest.mark.parametrize(
    ("operation", "result"),
    [("sum", 19.5), ("average", 4.875), ("min", 0), ("max", 10), ("median", 4.75), ("count", 4)],
)
def test_missing_values_are_left_out_and_counted(operation: str, result: float) -> None:
    found = processed(operation, "amount", ROWS)
    assert found == {"operation": operation, "field": "amount", "rows_read": 5, "missing": 1, "result": result}


def test_of_nothing_there_is_no_average() -> None:
    assert processed("count", None, [])["result"] == 0
    assert processed("sum", "a", [])["result"] == 0
    for operation in ("average", "min", "max", "median"):
        assert processed(operation, "a", [{"a": None}])["result"] is None


def test_sums_are_exact_where_they_can_be() -> None:
    assert processed("sum", "a", [{"a": 0.1}] * 10)["result"] == 1.0
    assert processed("sum", "a", [{"a": 2**53}, {"a": 1}])["result"] == 2**53 + 1
    assert processed("sum", "a", [{"a": 1e16}, {"a": 1.0}, {"a": -1e16}])["result"] == 1.0
    assert processed("average", "a", [{"a": 2**62}] * 8)["result"] == 2**62
    assert processed("sum", "a", [{"a": 2**62}] * 8)["result"] == float(2**65)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=50))
def test_sum_agrees_with_the_exact_one(numbers: list[float]) -> None:
    found = processed("sum", "a", [{"a": number} for number in numbers])["result"]
    assert math.isclose(found, math.fsum(numbers), rel_tol=1e-12, abs_tol=1e-25)


def test_a_result_that_is_no_number_fails_the_job() -> None:
    with pytest.raises(Problem) as refused:
        processed("sum", "a", [{"a": 1.7e308}] * 2)
    assert refused.value.code == "result_not_finite"


@pytest.mark.parametrize("value", ["12", True, [1], {"b": 1}])
def test_only_numbers_are_calculated_with(value: Any) -> None:
    with pytest.raises(Problem) as refused:
        processed("sum", "a", [{"a": 1}, {"a": value}])
    assert (refused.value.code, "Row 2" in refused.value.detail) == ("field_not_numeric", True)


def test_a_misspelt_field_is_said() -> None:
    for operation, parameters in (("sum", {}), ("count", {}), ("sort", {}), ("filter", {"op": "eq", "value": 1})):
        with pytest.raises(Problem) as refused:
            processed(operation, "amout", ROWS, **parameters)
        assert refused.value.code == "field_not_in_rows"
    with pytest.raises(Problem):
        processed("group", "amount", ROWS, by="regoin", aggregate="sum")


def test_groups_keep_the_types_of_their_keys() -> None:
    found = processed("group", "amount", ROWS, by="region", aggregate="sum")["result"]
    assert found == [
        {"key": "north", "value": 10, "rows": 2},
        {"key": "south", "value": 2.5, "rows": 1},
        {"key": None, "value": 7, "rows": 1},
        {"key": True, "value": 0, "rows": 1},
    ]
    ones: list[dict[str, Any]] = [{"k": 1}, {"k": True}, {"k": 1.0}, {"k": "1"}]
    assert [group["value"] for group in processed("group", None, ones, by="k", aggregate="count")["result"]] == [
        2,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("field", "op", "value", "places"),
    [
        ("amount", "eq", 10, [0]),
        ("amount", "eq", None, [2]),
        ("amount", "ne", 10, [1, 3, 4]),
        ("amount", "ne", None, [0, 1, 3, 4]),
        ("amount", "lt", 7, [1, 4]),
        ("amount", "le", 7, [1, 3, 4]),
        ("amount", "gt", 2.5, [0, 3]),
        ("amount", "ge", 2.5, [0, 1, 3]),
        ("amount", "gt", "2", []),
        ("region", "gt", "north", [1]),
        ("region", "eq", 1, []),
        ("region", "contains", "orth", [0, 2]),
        ("tag", "contains", "a", [0, 3]),
        ("tag", "contains", 1, [3]),
    ],
)
def test_filters_compare_like_with_like(field: str, op: str, value: Any, places: list[int]) -> None:
    assert processed("filter", field, ROWS, op=op, value=value)["result"] == [ROWS[place] for place in places]


def test_sorting_is_stable_and_puts_missing_values_last() -> None:
    amounts = [row.get("amount") for row in processed("sort", "amount", ROWS, order="asc")["result"]]
    assert amounts == [0, 2.5, 7, 10, None]
    amounts = [row.get("amount") for row in processed("sort", "amount", ROWS, order="desc")["result"]]
    assert amounts == [10, 7, 2.5, 0, None]
    mixed: list[dict[str, Any]] = [{"a": "b"}, {"a": 2}, {"a": None}, {"a": "a"}, {"a": 1}]
    assert [row["a"] for row in processed("sort", "a", mixed, order="asc")["result"]] == [1, 2, "a", "b", None]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", None), (" ", None), ("NaN", None), ("null", None), ("0", 0), ("-7", -7), (" 12 ", 12), ("1.50", 1.5),
        ("1e3", 1000.0), ("007", "007"), ("1_000", "1_000"), ("+5", "+5"), ("1,5", "1,5"), ("inf", "inf"),
        ("1e999", "1e999"), ("0x10", "0x10"), ("١", "١"), ("12345678901234567890", 12345678901234567890.0),
    ],
)  # fmt: skip
def test_a_cell_is_what_json_would_read(cell: str, value: Any) -> None:
    assert (of_cell(cell), type(of_cell(cell))) == (value, type(value))


def from_file(folder: Path, content: bytes, operation: str, field: str | None = None, content_type: str = "") -> Any:
    file = folder / "file"
    file.write_bytes(content)
    asked: dict[str, Any] = {"operation": operation, "field": field, "parameters": {}, "max_bytes": 10_000}
    return orjson.loads(data_operations.process(_silent, path=str(file), content_type=content_type, **asked))


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n2.5,y\n",
        b"\xef\xbb\xbfa;b\r\n1;x\r\n2.5;y\r\n",
        b'a\tb\n1\t"x\ny"\n2.5\ty',
        b"b,a\nx,1\n,2.5,extra\nz\n",
        b'[{"a": 1}, {"a": 2.5}, {"b": 1}]',
        b'{"a": 1}\n\n{"a": 2.5, "b": "\xc3\xa4"}\n',
    ],
)
def test_tables_come_in_many_spellings(tmp_path: Path, content: bytes) -> None:
    assert from_file(tmp_path, content, "sum", "a")["result"] == 3.5


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"a,b\n1,\xff\n", "file_not_text"),
        (b"[1, 2]", "file_not_tabular"),
        (b'[{"a": NaN}]', "file_not_tabular"),
        (b'[{"a": 1}', "file_not_tabular"),
        (b'a\n"' + b"x" * 200_000, "file_not_tabular"),
        (b"a\n" + b"1," * 600_000, "file_not_tabular"),
        (b"a\n" + b'"\n",' * 300_000, "file_not_tabular"),
        (b",".join(b"%d" % number for number in range(100_000)), "file_not_tabular"),
        (b'[{"a": ' + b"[" * 100 + b"]" * 100 + b"}]", "file_not_tabular"),
        (b'{"a": "' + b"x" * (32 * 1024 * 1024) + b'"}', "file_too_large"),
        (b"b\n1\n", "field_not_in_rows"),
    ],
)
def test_files_without_a_table_fail_for_good(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(Problem) as refused:
        from_file(tmp_path, content, "sum", "a")
    assert (refused.value.code, refused.value.status < 500) == (code, True)


def test_numbers_are_distinct_by_their_values(tmp_path: Path) -> None:
    [column] = of_file(tmp_path, b"a\n-1\n-2\n-2.0\n0\n2305843009213693951\n", "csv_profile")["columns"]
    assert column["distinct"] == 4


def test_numbers_too_large_to_be_summed_have_no_mean(tmp_path: Path) -> None:
    [column] = of_file(tmp_path, b"a\n1.7e308\n1.7e308\n", "csv_profile")["columns"]
    assert (column["type"], column["max"], column["mean"]) == ("number", 1.7e308, None)


def test_a_header_alone_tells_its_columns(tmp_path: Path) -> None:
    found = of_file(tmp_path, b"\na,b\n\n", "csv_profile")
    assert (found["rows"], [(column["name"], column["type"]) for column in found["columns"]]) == (
        0,
        [("a", "empty"), ("b", "empty")],
    )
    assert from_file(tmp_path, b"a,b\n", "count") == {
        "operation": "count", "field": None, "rows_read": 0, "missing": 0, "result": 0
    }  # fmt: skip


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    columns = of_file(tmp_path, b"b_3,b,b\n1,2,3\n", "csv_profile")["columns"]
    assert [(column["name"], column["mean"]) for column in columns] == [("b_3", 1), ("b", 2), ("b_3_3", 3)]


def of_file(folder: Path, content: bytes, operation: str) -> Any:
    file = folder / "file"
    file.write_bytes(content)
    return orjson.loads(file_operations.process(_silent, file_id="f", operation=operation, path=str(file)))["result"]


@pytest.mark.parametrize("text", ["", "one", "one\n", "\n\n", " a  b\tc\nd ", "ä€😀 x\r\ny", "word " * 300_000])
def test_text_statistics_agree_with_python(tmp_path: Path, text: str) -> None:
    lines = text.count("\n") + (not text.endswith("\n") and text != "")
    size = len(text.encode())
    expected = {"lines": lines, "words": len(text.split()), "characters": len(text), "bytes": size}
    assert of_file(tmp_path, text.encode(), "text_statistics") == expected


def test_a_byte_order_mark_is_none_of_the_text(tmp_path: Path) -> None:
    expected = {"lines": 1, "words": 1, "characters": 2, "bytes": 5}
    assert of_file(tmp_path, b"\xef\xbb\xbfab", "text_statistics") == expected


@given(st.text(alphabet=st.sampled_from("ab \n\té😀"), max_size=60), st.integers(1, 7))
def test_text_statistics_do_not_depend_on_the_block_size(text: str, block: int) -> None:
    before, file_operations._BLOCK_BYTES = file_operations._BLOCK_BYTES, block  # type: ignore[misc]  # the seam under test
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline=""
    ) as file:  # hypothesis takes no function fixtures
        file.write(text)
        file.flush()
        try:
            found = file_operations.text_statistics(Path(file.name), _silent)
        finally:
            file_operations._BLOCK_BYTES = before  # type: ignore[misc]  # as above
    assert (found["words"], found["characters"]) == (len(text.split()), len(text))


def test_a_csv_profile_knows_the_types_of_columns(tmp_path: Path) -> None:
    lines = [
        "id,score,when,ok,name,none,id",
        "1,1.5,2026-01-02,true,ann,,x",
        "2,,2026-01-01,False,bob,,y",
        "3,2,2026-03-01,true,7",
    ]
    found = of_file(tmp_path, "\n".join(lines).encode(), "csv_profile")
    assert found["rows"] == 3
    shown = {column["name"]: (column["type"], column["missing"], column["distinct"]) for column in found["columns"]}
    assert shown == {
        "id": ("integer", 0, 3),
        "score": ("number", 1, 2),
        "when": ("datetime", 0, 3),
        "ok": ("boolean", 0, 2),
        "name": ("text", 0, 3),
        "none": ("empty", 3, 0),
        "id_7": ("text", 1, 2),
    }
    when = next(column for column in found["columns"] if column["name"] == "when")
    assert (when["min"], when["max"], when["mean"]) == ("2026-01-01", "2026-03-01", None)


def test_a_hash_is_the_bytes_own(tmp_path: Path) -> None:
    expected = {"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "size_bytes": 3}
    assert of_file(tmp_path, b"abc", "hash") == expected


@pytest.mark.parametrize("operation", ["text_statistics", "csv_profile"])
def test_bytes_are_no_text(tmp_path: Path, operation: str) -> None:
    with pytest.raises(Problem) as refused:
        of_file(tmp_path, b"\x89PNG\r\n\x1a\n\x00\x00", operation)
    assert refused.value.code == "file_not_text"


def test_a_reader_of_some_rows_leaves_no_error_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    rows = rows_of(str(path), "text/csv", _silent)
    assert next(rows) == {"a": 1, "b": 2}
    del rows
    gc.collect()
    assert ignored == []
