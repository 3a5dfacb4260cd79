import gzip
import json
from pathlib import Path

import pytest

from fl_client import home as files
from fl_client import private_data
from fl_client.home import Home
from fl_client.link_errors import BadInput
from fl_server.device_messages import PrivateData as Wire

ROWS = "age,outcome\n41,home\n52,home\n\n60,moved\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "ward.csv"
    path.write_text(ROWS, encoding="utf-8-sig")
    return path


def test_a_csv_file_is_counted_by_column_and_class(table: Path) -> None:
    data = private_data.inspect("ward-3", table, "csv", "outcome")
    assert (data.columns, data.rows, data.classes) == (("age", "outcome"), 3, {"home": 2, "moved": 1})
    assert private_data.inspect("ward-3", table, "csv").classes == {}


def test_a_packed_csv_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "ward.csv.gz"
    path.write_bytes(gzip.compress(ROWS.encode()))
    assert private_data.inspect("ward-3", path, "csv", "outcome").rows == 3


def test_a_folder_of_images_is_counted_by_its_folders(tmp_path: Path) -> None:
    for name in (
        "cat/1.png",
        "cat/deep/2.JPG",
        "dog/1.jpeg",
        "dog/notes.txt",
        "empty/notes.txt",
        ".git/1.png",
    ):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    data = private_data.inspect("pets", tmp_path / "images", "image-folder")
    assert (data.rows, data.classes, data.columns) == (3, {"cat": 2, "dog": 1}, ())


def test_a_parquet_file_is_counted_without_reading_other_columns(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"age": [1, 2, 3], "outcome": ["a", "b", "a"]})
    parquet.write_table(table, tmp_path / "ward.parquet")
    data = private_data.inspect("ward-3", tmp_path / "ward.parquet", "parquet", "outcome")
    assert (data.columns, data.rows, data.classes) == (("age", "outcome"), 3, {"a": 2, "b": 1})


def test_what_the_platform_learns_has_no_path_and_is_what_it_takes(table: Path) -> None:
    data = private_data.inspect("ward-3", table, "csv", "outcome")
    told = data.as_message()
    assert set(told) == {"name", "kind", "columns", "rows", "classes"} == set(Wire.model_fields)
    assert str(table.parent) not in json.dumps(told)
    assert Wire.model_validate(told).rows == 3


def test_the_owner_is_shown_every_word_that_is_told(table: Path) -> None:
    data = private_data.inspect("ward-3", table, "csv", "outcome")
    shown = private_data.explained(data)
    for word in ("ward-3", "csv", "3", "age, outcome", "home: 2, moved: 1", str(table)):
        assert word in shown


def test_registered_data_comes_back_and_the_same_name_replaces(home: Home, table: Path) -> None:
    first = private_data.inspect("ward-3", table, "csv")
    second = private_data.inspect("ward-3", table, "csv", "outcome")
    other = private_data.inspect("alpha", table, "csv")
    for data in (first, other, second):
        private_data.add(home, data)
    assert private_data.registered(home) == (other, second)
    private_data.remove(home, "alpha")
    assert private_data.registered(home) == (second,)
    with pytest.raises(BadInput, match="no data named 'alpha'"):
        private_data.remove(home, "alpha")


def test_a_damaged_register_is_told_not_guessed(home: Home) -> None:
    home.write(files.DATA, b'[{"name": 1}]')
    with pytest.raises(BadInput, match="damaged"):
        private_data.registered(home)


@pytest.mark.parametrize(
    ("name", "content", "kind", "label", "says"),
    [
        ("Ward 3", ROWS, "csv", "", "is no name"),
        ("ward", ROWS, "excel", "", "is no kind"),
        ("ward", ROWS, "csv", "diagnosis", "no column 'diagnosis'"),
        ("ward", "", "csv", "", "names its columns"),
        ("ward", "age,outcome\n", "csv", "", "holds no rows"),
        ("ward", "age,outcome\n1\n", "csv", "", "1 values for 2 columns"),
        ("ward", "age\n" + "x" * 200_000, "csv", "", "not a readable CSV"),
        ("ward", ROWS, "parquet", "", "not a readable Parquet"),
        ("ward", ROWS, "image-folder", "", "is not a folder"),
        ("ward", ROWS, "image-folder", "age", "leave --label out"),
        ("ward", "id\n" + "\n".join(map(str, range(1001))), "csv", "id", "1001 classes"),
        ("ward", "x" * 81 + "\n1\n", "csv", "", "too long"),
    ],
)
def test_what_cannot_be_registered_is_said(tmp_path: Path, name, content, kind, label, says) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(BadInput, match=says):
        private_data.inspect(name, path, kind, label)


def test_data_that_is_not_there_and_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        private_data.inspect("ward", tmp_path / "nowhere", "csv")
    (tmp_path / "file.gz").write_bytes(b"\x1f\x8bnot gzip")
    with pytest.raises(BadInput, match="not a readable CSV"):
        private_data.inspect("ward", tmp_path / "file.gz", "csv")
