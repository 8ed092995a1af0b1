"""Any CSV becomes rows of answers; what cannot be read is named by its line and the rest goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.demo.answer_table import AnswerTable, HeaderInvalid, Malformed, Row


def table(tmp_path: Path, content: str | bytes, contact_column: str | None = None) -> AnswerTable:
    path = tmp_path / "respostas.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return AnswerTable.open(path, contact_column)


def test_every_column_but_the_contact_is_an_answer_and_missing_cells_are_unanswered(tmp_path: Path) -> None:
    content = "telefone,cor,nota\n+5511961234567,azul,7\n11961234568,NA,\n,verde,2.5\n"
    found = table(tmp_path, content, "telefone")
    assert found.questions == ("cor", "nota")
    assert list(found.rows()) == [
        Row(2, {"cor": "azul", "nota": 7}, "+5511961234567"),
        Row(3, {}, "11961234568"),
        Row(4, {"cor": "verde", "nota": 2.5}, None),
    ]


def test_a_number_is_one_only_if_its_text_comes_back_the_same(tmp_path: Path) -> None:
    content = "a,b,c,d,e,f\n007,1e3,-0,2.50,1.5,-3\n"
    (row,) = table(tmp_path, content).rows()
    assert isinstance(row, Row)
    assert row.answers == {"a": "007", "b": "1e3", "c": "-0", "d": "2.50", "e": 1.5, "f": -3}


def test_quoted_commas_and_newlines_a_byte_order_mark_and_names_in_any_script(tmp_path: Path) -> None:
    content = '\ufeff"opinião","年齢"\n"gosto, muito\nmesmo",31\n\n"ele disse ""não""",32\n'
    assert list(table(tmp_path, content).rows()) == [
        Row(2, {"opinião": "gosto, muito\nmesmo", "年齢": 31}, None),
        Row(5, {"opinião": 'ele disse "não"', "年齢": 32}, None),
    ]


def test_a_hundred_columns(tmp_path: Path) -> None:
    header = ",".join(f"p{n}" for n in range(100))
    (row,) = table(tmp_path, f"{header}\n{','.join(str(n) for n in range(100))}\n").rows()
    assert isinstance(row, Row)
    assert row.answers == {f"p{n}": n for n in range(100)}


def test_a_bad_row_is_named_by_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n1\n"x"y,2\n"never closed,2\n\xff\xfe,2\n5,6\n'
    found = list(table(tmp_path, content).rows())
    assert [row.line for row in found] == [2, 3, 4, 5, 6, 7]
    assert [type(row) for row in found] == [Row, Malformed, Malformed, Malformed, Malformed, Row]
    assert found[1] == Malformed(3, "has 1 cells, the header has 2")
    assert found[-1] == Row(7, {"a": 5, "b": 6}, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a,a\n1,2\n", "columns 1 and 2 are both named 'a'"),
        (b"a,,c\n1,2,3\n", "column 2 has no name"),
        (b"a,\xff\n1,2\n", "column 2 is not UTF-8"),
        ((",".join(f"q{n}" for n in range(201))).encode(), "201 columns"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(HeaderInvalid, match=said) as refused:
        table(tmp_path, content)
    assert "\n" not in str(refused.value)


def test_a_contact_column_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(HeaderInvalid, match=r"no column 'fone'.*it has cor, nota"):
        table(tmp_path, "cor,nota\n", "fone")
