"""Data sets: what loads, how it is scaled, where Fashion-MNIST is looked for, and every refusal."""

import gzip
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients import fashion, idx
from clients.datasets import DataSet, load
from clients.errors import ClientError, DataError
from clients.quantise import Range, Scaling, quantise

CSV = "age,dose,risk\n30,1.5,low\n40,2.5,high\n50,3.5,low\n60,1.0,high\n70,2.0,low\n"


def write_idx(path: Path, array: npt.NDArray[np.uint8], *, magic: int | None = None, body: bytes | None = None) -> None:
    header = struct.pack(f">{1 + array.ndim}I", magic or 0x0800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + (array.tobytes() if body is None else body)))


def idx_folder(folder: Path, seed: int = 0) -> Path:
    """Make up 20 + 10 images of 4 x 3 pixels with the labels 0..9."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for images, labels, n in ((*idx.FILES[:2], 20), (*idx.FILES[2:], 10)):
        write_idx(folder / images, rng.integers(0, 256, (n, 4, 3), np.uint8))
        write_idx(folder / labels, np.arange(n, dtype=np.uint8) % 10)
    return folder


def no_network(code: str, seconds: int, variables: Mapping[str, str]) -> None:
    raise subprocess.TimeoutExpired(code, seconds)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a machine of its own: no Fashion-MNIST anywhere and no network."""
    monkeypatch.delenv("LUNARIA_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "debian" / "fashion-mnist")
    monkeypatch.setattr(fashion, "_run", no_network)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_csv(folder: Path, text: str) -> str:
    path = folder / "data.csv"
    path.write_text(text)
    return str(path)


def write_npz(folder: Path, **arrays: npt.ArrayLike) -> str:
    path = folder / "data.npz"
    np.savez(path, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]
    return str(path)


def refusal(spec: str, **options: object) -> str:
    """Return the one line with which ``spec`` is refused."""
    with pytest.raises(DataError) as caught:
        load(spec, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert isinstance(caught.value, ClientError)
    return text


def assert_sound(data: DataSet) -> None:
    """Check what holds for every data set."""
    k = len(data.classes) if data.task == "classification" else 1
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert len(x) == len(y) > 0
        assert y.shape[1] == k
        assert x.dtype == y.dtype == np.uint8
        assert not x.flags.writeable
        assert not y.flags.writeable
        if data.task == "classification":
            assert (y.sum(axis=1) == 1).all()
        if data.task != "regression":
            assert set(np.unique(y)) <= {0, 1}
    assert data.x_train.shape[1] == data.x_test.shape[1]


class TestEmbedded:
    @pytest.mark.parametrize(
        ("spec", "task", "samples", "features", "outputs"),
        [
            ("digits", "classification", 1797, 64, 10),
            ("breast-cancer", "binary", 569, 30, 1),
            ("diabetes", "regression", 442, 10, 1),
        ],
    )
    def test_loads_with_its_task_inferred(self, spec: str, task: str, samples: int, features: int, outputs: int) -> None:
        data = load(spec)
        assert_sound(data)
        assert data.task == task
        assert data.y_train.shape == (samples - samples // 5, outputs)
        assert data.x_test.shape == (samples // 5, features)
        assert data.name == data.source == spec
        assert any("held out" in note for note in data.notes)

    def test_is_the_same_every_time(self) -> None:
        first, second = load("digits"), load("digits")
        assert np.array_equal(first.x_train, second.x_train)
        assert np.array_equal(first.y_test, second.y_test)

    def test_two_classes_become_two_outputs_for_a_softmax_on_request(self) -> None:
        data = load("breast-cancer", task="classification")
        binary = load("breast-cancer")
        assert_sound(data)
        assert data.classes == binary.classes == ("malignant", "benign")
        assert np.array_equal(data.y_train[:, 1:], binary.y_train)

    def test_pixels_keep_their_known_range(self) -> None:
        data = load("digits")
        assert data.scaling == Scaling(Range((0.0,), (16.0,), 8))
        assert data.x_train.max() == 255

    def test_a_regression_target_scales_back_to_its_unit(self) -> None:
        data = load("diabetes", target_bits=12)
        assert data.scaling.target is not None
        low, high = data.scaling.target.low[0], data.scaling.target.high[0]
        restored = data.scaling.target.restore(data.y_train)
        assert data.y_train.dtype == np.uint16
        assert restored.min() == low == 25.0
        assert restored.max() == high == 346.0
        assert np.abs(restored - np.round(restored)).max() <= (high - low) / 4095 / 2 + 1e-9

    def test_a_regression_is_refused_as_a_classification(self) -> None:
        assert "214 classes, at most 16" in refusal("diabetes", task="classification")

    def test_many_classes_are_refused_as_binary(self) -> None:
        assert "a binary task has 2" in refusal("digits", task="binary")

    def test_without_scikit_learn_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        assert "pip install scikit-learn" in refusal("digits")

    @pytest.mark.parametrize("bits", [0, 17])
    def test_a_grid_that_nobody_can_use_is_refused(self, bits: int) -> None:
        assert "give 1 to 16 bits" in refusal("digits", feature_bits=bits)

    @pytest.mark.parametrize("spec", ["", "nonsense", "a:b:c", "a/b:c"])
    def test_an_unknown_spec_lists_what_there_is(self, spec: str) -> None:
        text = refusal(spec)
        assert all(word in text for word in ("auto", "fashion-mnist", "digits", ".csv", "module:function"))


class TestIdx:
    def test_a_folder_is_a_data_set_whose_pixels_stay_as_they_are(self, machine: Path) -> None:
        folder = idx_folder(machine / "letters")
        data = load(str(folder))
        assert_sound(data)
        assert (data.name, data.source) == ("letters", str(folder))
        assert data.classes == tuple("0123456789")
        assert np.array_equal(data.x_train, idx.read_idx(folder / idx.FILES[0], 3).reshape(20, 12))
        assert np.array_equal(data.y_test.argmax(axis=1), np.arange(10))
        assert data.notes == ()

    def test_pixels_can_be_put_on_a_coarser_grid(self, machine: Path) -> None:
        folder = str(idx_folder(machine / "letters"))
        exact, coarse = load(folder), load(folder, feature_bits=4)
        assert np.array_equal(coarse.x_train, np.floor(exact.x_train / 255 * 15 + 0.5))

    @pytest.mark.parametrize("name", idx.FILES)
    def test_a_missing_file_is_named(self, machine: Path, name: str) -> None:
        folder = idx_folder(machine / "letters")
        (folder / name).unlink()
        assert f"{folder / name}: no such file" in refusal(str(folder))

    @pytest.mark.parametrize("name", idx.FILES)
    def test_a_wrong_magic_number_is_refused(self, machine: Path, name: str) -> None:
        folder = idx_folder(machine / "letters")
        write_idx(folder / name, np.zeros((20, 4, 3) if "images" in name else 20, np.uint8), magic=0x0D03)
        assert f"{folder / name}: magic number 0x00000d03" in refusal(str(folder))

    @pytest.mark.parametrize(("body", "found"), [(bytes(239), "the file has 239"), (bytes(241), "the file has more")])
    def test_a_file_longer_or_shorter_than_its_header_is_refused(self, machine: Path, body: bytes, found: str) -> None:
        folder = idx_folder(machine / "letters")
        write_idx(folder / idx.FILES[0], np.zeros((20, 4, 3), np.uint8), body=body)
        assert f"announces 240 bytes, {found}" in refusal(str(folder))

    @pytest.mark.parametrize("shape", [(2**32 - 1,) * 3, (2**20, 2**10, 2), (0, 4, 3)])
    def test_sizes_are_capped_before_anything_is_unpacked(self, machine: Path, shape: tuple[int, ...]) -> None:
        folder = idx_folder(machine / "letters")
        (folder / idx.FILES[0]).write_bytes(gzip.compress(struct.pack(">4I", 0x0803, *shape) + bytes(100)))
        assert "can be read" in refusal(str(folder))

    @pytest.mark.parametrize(
        "content", [b"", b"not gzip at all", gzip.compress(b"\0\0\x08"), b"broken"], ids=["empty", "text", "short", "broken"]
    )
    def test_a_damaged_file_is_refused(self, machine: Path, content: bytes) -> None:
        folder = idx_folder(machine / "letters")
        path = folder / idx.FILES[0]
        path.write_bytes(path.read_bytes()[:-20] if content == b"broken" else content)
        assert f"{path}: not readable as a gzip-compressed idx file" in refusal(str(folder))

    def test_a_wrong_checksum_is_refused(self, machine: Path) -> None:
        folder = idx_folder(machine / "letters")
        path = folder / idx.FILES[0]
        content = bytearray(path.read_bytes())
        content[-8] ^= 1
        path.write_bytes(content)
        assert "CRC" in refusal(str(folder))

    def test_counts_that_differ_are_refused(self, machine: Path) -> None:
        folder = idx_folder(machine / "letters")
        write_idx(folder / idx.FILES[1], np.zeros(19, np.uint8))
        assert "20 images" in refusal(str(folder))

    def test_images_of_two_sizes_are_refused(self, machine: Path) -> None:
        folder = idx_folder(machine / "letters")
        write_idx(folder / idx.FILES[2], np.zeros((10, 3, 4), np.uint8))
        assert "training images are 4 x 3, test images 3 x 4" in refusal(str(folder))

    def test_a_test_label_that_nobody_trains_is_refused(self, machine: Path) -> None:
        folder = idx_folder(machine / "letters")
        write_idx(folder / idx.FILES[3], np.array([0] * 9 + [11], np.uint8))
        assert "y_test[9]: unknown label '11'" in refusal(str(folder))


class TestFashionMnist:
    """``auto`` and ``fashion-mnist`` look in four places, in one order."""

    def places(self, machine: Path) -> list[Path]:
        return [machine / "own", fashion.DEBIAN, machine / "keras" / "datasets" / "fashion-mnist"]

    @pytest.mark.parametrize("spec", ["auto", "fashion-mnist"])
    @pytest.mark.parametrize("first", [0, 1, 2])
    def test_the_first_place_that_has_it_wins(self, machine: Path, monkeypatch: pytest.MonkeyPatch, spec: str, first: int) -> None:
        for seed, place in list(enumerate(self.places(machine)))[first:]:
            idx_folder(place, seed)
        if first == 0:
            monkeypatch.setenv("LUNARIA_DATA", str(machine / "own"))
        data = load(spec)
        assert_sound(data)
        assert data.source == f"fashion-mnist:{self.places(machine)[first]}"
        assert (data.name, data.classes[9], data.notes) == ("fashion-mnist", "Ankle boot", ())

    @pytest.mark.parametrize("below", ["", "fashion-mnist", "debian/fashion-mnist"])
    def test_the_users_folder_may_hold_the_files_deeper(self, machine: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
        if below.startswith("debian"):  # as dpkg-deb -x leaves it
            below = str(fashion.DEBIAN.relative_to("/"))
        idx_folder(machine / "own" / below)
        monkeypatch.setenv("LUNARIA_DATA", str(machine / "own"))
        assert load("auto").source == f"fashion-mnist:{machine / 'own' / below}"

    def test_the_source_loads_the_same_again_without_a_search(self, machine: Path) -> None:
        idx_folder(fashion.DEBIAN)
        data = load("auto")
        fashion.DEBIAN.rename(machine / "moved")
        idx_folder(fashion.DEBIAN, seed=1)
        moved = load(f"fashion-mnist:{machine / 'moved'}")
        assert np.array_equal(data.x_train, moved.x_train)
        assert not np.array_equal(data.x_train, load(data.source).x_train)
        assert moved.classes == data.classes

    def test_auto_falls_back_to_digits_and_says_so(self) -> None:
        data = load("auto")
        assert data.name == data.source == "digits"
        assert "using scikit-learn's digits instead" in data.notes[0]
        assert "dataset-fashion-mnist" in data.notes[0]
        assert "LUNARIA_DATA=FOLDER" in data.notes[0]

    def test_the_explicit_name_never_falls_back(self) -> None:
        text = refusal("fashion-mnist")
        assert "dataset-fashion-mnist" in text
        assert "LUNARIA_DATA=FOLDER" in text

    def test_a_users_folder_without_the_files_is_noted(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LUNARIA_DATA", str(machine / "typo"))
        assert any("typo does not hold" in note for note in load("auto").notes)
        assert "typo does not hold" in refusal("fashion-mnist")

    def test_a_damaged_copy_is_passed_over_and_noted(self, machine: Path) -> None:
        idx_folder(fashion.DEBIAN)
        (fashion.DEBIAN / idx.FILES[0]).write_bytes(b"damaged")
        assert any(str(fashion.DEBIAN) in note for note in load("auto").notes)
        cache = idx_folder(self.places(machine)[2])
        data = load("auto")
        assert data.source == f"fashion-mnist:{cache}"
        assert any(str(fashion.DEBIAN) in note for note in data.notes)

    def test_a_download_enters_keras_cache_once_it_was_checked(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []

        def keras(code: str, seconds: int, variables: Mapping[str, str]) -> None:
            calls.append(seconds)
            if "KERAS_HOME" in variables:
                idx_folder(Path(variables["KERAS_HOME"], "datasets", "fashion-mnist"))

        monkeypatch.setattr(fashion, "_run", keras)
        cache = self.places(machine)[2]
        assert load("auto").source == load("fashion-mnist").source == f"fashion-mnist:{cache}"
        assert calls == [fashion.PROBE_SECONDS, fashion.DOWNLOAD_SECONDS]
        assert sorted(path.name for path in cache.parent.iterdir()) == ["fashion-mnist"]

    def test_half_a_download_never_enters_the_cache(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def keras(code: str, seconds: int, variables: Mapping[str, str]) -> None:
            if "KERAS_HOME" in variables:
                folder = idx_folder(Path(variables["KERAS_HOME"], "datasets", "fashion-mnist"))
                (folder / idx.FILES[0]).write_bytes(b"half")

        monkeypatch.setattr(fashion, "_run", keras)
        assert load("auto").name == "digits"
        assert list(self.places(machine)[2].iterdir()) == []

    def test_a_cache_that_cannot_be_written_is_no_obstacle(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (machine / "keras").write_text("a file where a folder should be")
        monkeypatch.setattr(fashion, "_run", lambda *_: None)
        assert load("auto").name == "digits"


class TestDownloadProcess:
    def test_it_is_stopped_in_time_and_says_nothing(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.undo()
        with pytest.raises(subprocess.TimeoutExpired):
            fashion._run("import time; print('noise', flush=True); time.sleep(60)", 1, {})
        with pytest.raises(subprocess.CalledProcessError):
            fashion._run("raise OSError('no network')", 20, {})
        assert capfd.readouterr() == ("", "")


class TestCsv:
    def test_the_last_column_is_the_target_and_may_be_text(self, machine: Path) -> None:
        data = load(write_csv(machine, CSV))
        assert_sound(data)
        assert (data.task, data.classes) == ("binary", ("high", "low"))
        assert (len(data.x_train), len(data.x_test)) == (4, 1)
        assert data.source == f"{machine / 'data.csv'}:risk"

    def test_the_target_can_be_named(self, machine: Path) -> None:
        text = "risk,age\nlow,30\nhigh,40\nlow,50\nhigh,60\n"
        data = load(write_csv(machine, text) + ":risk")
        assert data.x_train.shape == (3, 1)
        assert data.classes == ("high", "low")

    def test_integers_are_classes_and_fractions_a_regression(self, machine: Path) -> None:
        classes = "x,y\n" + "".join(f"{i},{i % 3}\n" for i in range(30))
        numbers = "x,y\n" + "".join(f"{i},{i / 3}\n" for i in range(30))
        assert load(write_csv(machine, classes)).classes == ("0", "1", "2")
        assert load(write_csv(machine, numbers)).task == "regression"

    def test_a_label_is_the_same_with_and_without_a_fraction(self, machine: Path) -> None:
        data = load(write_csv(machine, "x,y\n1,1.0\n2,2.0\n3,1.0\n4,2.0\n5,1.0\n"))
        assert data.classes == ("1", "2")

    def test_a_relative_path_becomes_an_absolute_source(self, machine: Path) -> None:
        write_csv(machine, CSV)
        assert load("data.csv").source == str(machine / "data.csv:risk")

    def test_blank_lines_quotes_and_a_byte_order_mark_do_no_harm(self, machine: Path) -> None:
        text = '\ufeff"a","b"\n\n1,x\n2,"y"\n\n3,x\n4,y\n5,x\n'
        assert load(write_csv(machine, text)).classes == ("x", "y")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "has no samples; give a header line"),
            ("a,b\n", "has no samples"),
            ("a\n1\n", "only one column, 'a'"),
            ("a,b\n1,x\n2\n", "line 3: 1 values, the header has 2"),
            ("a,b\n1,x\n\n2,y,z\n", "line 4: 3 values"),
            ("a,b\nred,0\n2,1\n", "line 2, column 'a': 'red' is not a number"),
            ("a,b\n1,0\n,1\n", "line 3, column 'a': no value"),
            ("a,b\n1,0\nnan,1\n", "line 3, column 'a': the value is nan"),
            ("a,b\ninf,0\n1,1\n", "line 2, column 'a': the value is inf"),
            ("a,b\n1,x\n2,\n", "line 3, column 'b': no target"),
            ("a,b\n1,0.5\n2,nan\n", "column 'b', line 3 is nan"),
            ("a,b\n1,x\n2,x\n", "column 'b' has only one class, 'x'"),
            ("a,b\n1," + "x" * 101 + "\n", "line 2, column 'b': a label of 101 characters"),
            (",b\n1,x\n", "column 1 has no name"),
            ("a,a,b\n1,2,x\n", "two columns are called 'a'"),
            ("5.1,b\n1,x\n", "column 1 is called '5.1', a number"),
            ('a,b\n1,"x\n2,y\n', "line 3: unexpected end of data"),
            ("a,b\n" + "".join(f"{i},c{i}\n" for i in range(17)), "17 classes, at most 16"),
            ("a,b\n-1e308,x\n1e308,y\n1e308,y\n-1e308,x\n0,x\n", "give two finite numbers"),
        ],
    )
    def test_refuses_naming_line_and_column(self, machine: Path, text: str, expected: str) -> None:
        assert expected in refusal(write_csv(machine, text))

    def test_a_missing_target_column_lists_those_there_are(self, machine: Path) -> None:
        assert "no column 'x'; the columns are age, dose, risk" in refusal(write_csv(machine, CSV) + ":x")

    def test_text_is_no_regression_target(self, machine: Path) -> None:
        assert "a regression needs numbers" in refusal(write_csv(machine, CSV), task="regression")

    def test_a_regression_target_has_to_vary(self, machine: Path) -> None:
        text = "a,b\n1,0.5\n2,0.5\n3,0.5\n"
        assert "column 'b' is 0.5 in every training sample" in refusal(write_csv(machine, text), task="regression")

    def test_bytes_that_are_no_text_are_refused(self, machine: Path) -> None:
        (machine / "data.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
        assert "save it as UTF-8" in refusal(str(machine / "data.csv"))

    @pytest.mark.parametrize("name", ["none.csv", "none.csv:y", "none.npz", "none.parquet"])
    def test_a_missing_file_is_named(self, name: str) -> None:
        assert f"{name.removesuffix(':y')}: no such file" in refusal(name)

    def test_one_sample_cannot_be_split(self, machine: Path) -> None:
        assert "only 1 sample" in refusal(write_csv(machine, "a,b\n1,0.5\n"), task="regression")


class TestAgreed:
    """Members of a federation agree on classes and ranges before anybody loads anything."""

    def test_classes_may_be_more_than_a_member_has(self, machine: Path) -> None:
        data = load(write_csv(machine, CSV), classes=("none", "low", "high"))
        assert data.task == "classification"
        assert data.y_train.shape == (4, 3)
        assert not data.y_train[:, 0].any()

    def test_a_member_with_one_class_can_take_part(self, machine: Path) -> None:
        text = CSV.replace("high", "low")
        assert not load(write_csv(machine, text), classes=("low", "high")).y_train.any()

    def test_named_classes_are_matched_by_name(self) -> None:
        swapped, usual = load("breast-cancer", classes=("benign", "malignant")), load("breast-cancer")
        assert np.array_equal(swapped.y_train, 1 - usual.y_train)

    def test_an_unknown_label_is_named_with_its_line(self, machine: Path) -> None:
        text = refusal(write_csv(machine, CSV), classes=("low", "medium"))
        assert "line 3: unknown label 'high'" in text

    def test_a_class_named_twice_is_refused(self, machine: Path) -> None:
        assert "not distinct" in refusal(write_csv(machine, CSV), classes=("low", "low"))

    def test_ranges_are_used_as_they_are(self, machine: Path) -> None:
        agreed = Scaling(Range((0.0, 0.0), (100.0, 7.0), 8))
        data = load(write_csv(machine, CSV), scaling=agreed)
        assert data.scaling is agreed
        ages = np.floor(np.array([30, 40, 50, 60, 70]) / 100 * 255 + 0.5)
        assert set(np.concatenate([data.x_train, data.x_test])[:, 0]) == set(ages)
        assert max(data.x_train[:, 1].max(), data.x_test[:, 1].max()) == 128  # a dose of 3.5 of 7

    def test_a_sample_beyond_the_agreed_range_is_refused_with_its_place(self, machine: Path) -> None:
        low, high = (Scaling(Range((0.0, 0.0), (100.0, top), 8)) for top in (0.1, 4.0))
        path = write_csv(machine, CSV)
        text = refusal(path, scaling=low)
        assert "feature 2 is" in text
        assert "the agreed range is 0 to 0.1: give it in the agreed unit, or leave the sample out" in text
        assert re.search(r"line [2-6]: feature", text)
        assert load(path, scaling=high).scaling is high
        outlier = CSV.replace("3.5", "-3.5") + "41,1000,low\n"
        assert "feature 2 is" in refusal(write_csv(machine, outlier), scaling=high)

    def test_a_test_sample_beyond_it_takes_the_nearer_end(self) -> None:
        x = np.array([[0.0], [1.0], [2.0]])
        np.savez("beyond.npz", x_train=x[:2], y_train=[0, 1], x_test=x, y_test=[0, 1, 1])
        data = load("beyond.npz", scaling=Scaling(Range((0.0,), (1.0,), 8)))
        assert data.x_test[:, 0].tolist() == [0, 255, 255]
        with pytest.raises(DataError, match=r"row 1: feature 1 is 1\.0, the agreed range is 0 to 0.5"):
            load("beyond.npz", scaling=Scaling(Range((0.0,), (0.5,), 8)))

    def test_a_target_beyond_it_is_refused(self) -> None:
        x, y = np.linspace(0, 1, 30)[:, np.newaxis], np.linspace(0, 9, 30)
        np.savez("far.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        unit = Range((0.0,), (1.0,), 8)
        with pytest.raises(DataError, match="target 1 is"):
            load("far.npz", scaling=Scaling(unit, unit))
        assert load("far.npz", scaling=Scaling(unit, Range((0.0,), (9.0,), 8))).task == "regression"

    def test_ranges_for_other_features_are_refused(self, machine: Path) -> None:
        agreed = Scaling(Range((0.0,) * 3, (1.0,) * 3, 8))
        assert "has 2 features, the agreed scaling 3" in refusal(write_csv(machine, CSV), scaling=agreed)

    def test_a_regression_needs_an_agreed_target_range_and_nothing_else_does(self) -> None:
        without = Scaling(Range((0.0,), (1.0,), 8))
        assert "no range for a target" in refusal("diabetes", scaling=without)
        with_one = Scaling(Range((0.0,), (1.0,), 8), Range((0.0,), (1.0,), 8))
        assert "a range for a target" in refusal("digits", scaling=with_one)


class TestNpz:
    x = np.arange(40.0).reshape(10, 4)
    y = np.arange(10) % 2

    def test_whole_and_split(self, machine: Path) -> None:
        whole = load(write_npz(machine, x=self.x, y=self.y))
        assert_sound(whole)
        assert len(whole.x_test) == 2
        split = load(write_npz(machine, x_train=self.x, y_train=self.y[:, None], x_test=self.x[:3], y_test=self.y[:3]))
        assert_sound(split)
        assert (len(split.x_train), len(split.x_test), split.notes) == (10, 3, ())

    def test_the_range_comes_from_the_training_part_only(self, machine: Path) -> None:
        spec = write_npz(machine, x_train=self.x, y_train=self.y, x_test=self.x * 9 - 40, y_test=self.y)
        data = load(spec)
        assert data.scaling.features == Range((0.0, 1.0, 2.0, 3.0), (36.0, 37.0, 38.0, 39.0), 8)
        assert data.x_test.min() == 0
        assert data.x_test.max() == 255

    def test_images_of_bytes_stay_as_they_are(self, machine: Path) -> None:
        images = np.arange(10 * 4, dtype=np.uint8).reshape(10, 2, 2)
        data = load(write_npz(machine, x_train=images, y_train=self.y, x_test=images, y_test=self.y))
        assert np.array_equal(data.x_train, images.reshape(10, 4))

    def test_a_constant_feature_is_zero(self, machine: Path) -> None:
        x = self.x.copy()
        x[:, 2] = 7.5
        assert not load(write_npz(machine, x=x, y=self.y)).x_train[:, 2].any()

    def test_true_and_false_are_numbers_and_classes(self, machine: Path) -> None:
        data = load(write_npz(machine, x=self.x > 20, y=self.y > 0))
        assert data.classes == ("False", "True")
        assert set(np.unique(data.x_train)) <= {0, 255}

    @pytest.mark.parametrize(
        ("arrays", "expected"),
        [
            ({"a": x}, "holds a; save x, y or x_train"),
            ({"x": x}, "holds x; save"),
            ({"x": x[:, 0], "y": y}, "x has shape (10,)"),
            ({"x": x[:0], "y": y[:0]}, "x is empty"),
            ({"x": x[:, :0], "y": y}, "x is empty"),
            ({"x": x.astype(str), "y": y}, "not plain numbers"),
            ({"x": x * 1j, "y": y}, "not plain numbers"),
            ({"x": x, "y": y[:9]}, "10 rows in x, 9 in y"),
            ({"x": x, "y": np.eye(10)}, "not one-hot rows"),
            ({"x": np.where(x == 22, np.nan, x), "y": y}, "x[5], column 2 is nan"),
            ({"x": np.where(x == 22, -np.inf, x), "y": y}, "x[5], column 2 is -inf"),
            ({"x": x, "y": np.where(y, np.nan, 1.0)}, "data.npz: y[1] is nan"),
            ({"x": x, "y": y * 1j}, "y holds complex128"),
            ({"x": x, "y": y * 0}, "only one class, '0'"),
            ({"x_train": x, "y_train": y, "x_test": x[:, :3], "y_test": y}, "4 features in x_train, 3 in x_test"),
            ({"x_train": x, "y_train": y, "x_test": x, "y_test": y + 1}, "y_test[1]: unknown label '2'"),
            ({"x": np.array([{}] * 10), "y": y}, "not readable as plain arrays"),
        ],
    )
    def test_refuses_naming_the_array_and_the_place(self, machine: Path, arrays: dict[str, npt.ArrayLike], expected: str) -> None:
        spec = write_npz(machine, **arrays)
        assert expected in refusal(spec)

    def test_few_distinct_fractions_are_classes_unless_the_task_says_otherwise(self, machine: Path) -> None:
        spec = write_npz(machine, x=self.x, y=self.y + 0.5)
        assert load(spec).classes == ("0.5", "1.5")
        assert load(spec, task="regression").classes == ()

    def test_a_damaged_file_is_refused(self, machine: Path) -> None:
        path = Path(write_npz(machine, x=self.x, y=self.y))
        content = path.read_bytes()
        for damaged in (b"", b"no zip", content[:200], content[:150] + b"\xff" * 8 + content[158:]):
            path.write_bytes(damaged)
            assert "write it with numpy.savez" in refusal(str(path))


class TestFunction:
    @pytest.fixture
    def module(self, machine: Path) -> Callable[[str], str]:
        def write(body: str) -> str:
            name = f"made_up_{abs(hash((machine, body)))}"
            (machine / f"{name}.py").write_text(f"import numpy as np\n{body}\n")
            return name

        return write

    def test_its_arrays_are_a_data_set(self, module: Callable[[str], str]) -> None:
        name = module("def load():\n    return [[1], [2], [3], [4], [5]], ['a', 'b', 'a', 'b', 'a']")
        data = load(f"{name}:load")
        assert_sound(data)
        assert data.name == data.source == f"{name}:load"
        assert data.classes == ("a", "b")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("pass", "failed with AttributeError"),
            ("load = 3", "failed with TypeError"),
            ("def load():\n    raise RuntimeError('first\\nsecond')", "failed with RuntimeError (first)"),
            ("1 / 0", "failed with ZeroDivisionError"),
            ("def load():\n    return 3", "returned int; return (x, y)"),
            ("def load():\n    return 1, 2, 3", "returned tuple; return (x, y)"),
            ("def load():\n    return [[1], [2, 3]], [0, 1]", "returned no arrays"),
        ],
    )
    def test_what_goes_wrong_inside_is_one_line(self, module: Callable[[str], str], body: str, expected: str) -> None:
        path = list(sys.path)
        assert expected in refusal(f"{module(body)}:load")
        assert sys.path == path

    def test_a_module_that_is_not_there_is_named(self) -> None:
        assert "no_such_module" in refusal("no_such_module:load")


class TestParquet:
    def test_without_pyarrow_says_what_to_install(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        (machine / "data.parquet").write_bytes(b"")
        assert "pip install pyarrow" in refusal("data.parquet")

    def test_with_pyarrow_reads_like_a_csv(self, machine: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")

        def write(**columns: Sequence[object]) -> str:
            parquet.write_table(pyarrow.table(columns), machine / "data.parquet")
            return "data.parquet"

        spec = write(age=[30, 40, 50, 60, 70], dose=[1.5, 2.5, 3.5, 1.0, 2.0], risk=["low", "high"] * 2 + ["low"])
        from_csv, data = load(write_csv(machine, CSV)), load(spec)
        assert np.array_equal(data.x_train, from_csv.x_train)
        assert np.array_equal(data.y_test, from_csv.y_test)
        assert data.source == str(machine / "data.parquet:risk")
        assert "row 1, column 'a': no value" in refusal(write(a=[1, None], b=["x", "y"]))
        assert "row 0, column 'a': 'red' is not a number" in refusal(write(a=["red", "2"], b=["x", "y"]))
        assert "row 1, column 'a': the value is nan" in refusal(write(a=[1.0, np.nan], b=["x", "y"]))
        assert "has no samples" in refusal(write(a=[], b=[]))
        assert "to_parquet(index=False)" in refusal(write(a=[1, 2], b=["x", "y"], __index_level_0__=[5, 6]))
        (machine / "data.parquet").write_bytes(b"damaged")
        assert "not readable as Parquet" in refusal("data.parquet")


class TestQuantise:
    def test_known_values(self) -> None:
        x = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0]]).T
        assert quantise(x, 0.0, 1.0, 8).ravel().tolist() == [0, 0, 128, 255, 255]
        assert quantise(x, 0.0, 1.0, 16).dtype == np.uint16

    def test_bytes_on_their_own_range_are_not_copied(self) -> None:
        x = np.arange(256, dtype=np.uint8).reshape(16, 16)
        assert np.shares_memory(quantise(x, 0, 255, 8), x)

    @given(
        st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30),
        st.integers(1, 16),
    )
    def test_stays_on_the_grid_keeps_the_order_and_scales_back(self, values: list[float], bits: int) -> None:
        x = np.array(values)[:, np.newaxis]
        span = Range.of(x, bits)
        q = span.apply(x)
        assert q.max() <= 2**bits - 1
        assert (np.diff(q[np.argsort(x[:, 0]), 0].astype(np.int64)) >= 0).all()
        step = (span.high[0] - span.low[0]) / (2**bits - 1)
        assert np.abs(span.restore(q) - x).max() <= step / 2 * (1 + 1e-6) + 1e-300

    def test_a_range_upside_down_is_refused(self) -> None:
        with pytest.raises(DataError, match="the lower one first"):
            Range((1.0,), (0.0,), 8)
        with pytest.raises(DataError, match="one pair per feature"):
            Range((1.0,), (), 8)
