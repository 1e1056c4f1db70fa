"""What sources hide: links inside archives, devices, odd names, several images in one file, what lies beside."""

import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fewstep.bench.cli import main
from fewstep.datasets import folders
from fewstep.datasets.expected import shortfall
from fewstep.datasets.facts import ArchiveError
from fewstep.datasets.images import Images
from fewstep.datasets.prepare import prepare
from fewstep.datasets.registry import DATASETS
from fewstep.datasets.specs.cifar10 import CLASSES


@pytest.fixture(scope="session")
def png(picture, encoded):
    """png(seed) -> the bytes of an image of 32x32 pixels."""
    return lambda seed: encoded(picture(seed))


def write(folder, members):
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def tar(path, members, links=(), form="w"):
    """links: (name, type, where it leads)."""
    with tarfile.open(path, form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


def run(name, source, root):
    return CliRunner().invoke(main, ["prepare", name, "--from", str(source), "--data-root", str(root)])


@pytest.mark.parametrize("form", ["w", "w:gz"])
def test_links_inside_a_tar_are_the_files_that_they_name(tmp_path, png, form):
    """tar itself writes a hard link for the second name of a file."""
    made = tar(
        tmp_path / "s.tar",
        {"a/0.png": png(0), "a/1.png": png(1)},
        [
            ("b/0.png", tarfile.LNKTYPE, "a/0.png"),
            ("b/1.png", tarfile.SYMTYPE, "../a/1.png"),
            ("c", tarfile.SYMTYPE, "b"),
            ("a/up", tarfile.SYMTYPE, ".."),
            ("d.png", tarfile.SYMTYPE, "/etc/hostname"),
            ("e", tarfile.FIFOTYPE, ""),
        ],
        form,
    )
    images = Images(made)
    assert images.names == ["a/0.png", "a/1.png", "b/0.png", "b/1.png", "c/0.png", "c/1.png"]
    assert images[0:2].equal(images[2:4])
    assert images[0:2].equal(images[4:6])
    assert images.unread == (
        f"{made}: 1 link back to a folder around it, 1 link to nothing in the archive and 1 device, pipe or socket file"
        " are not read"
    )


def test_links_inside_a_zip_are_the_files_that_they_name(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a/0.png", png(0))
        for name, target in (("b.png", "a/0.png"), ("c", "a")):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    assert Images(tmp_path / "s.zip").names == ["a/0.png", "b.png", "c/0.png"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_a_name_twice_the_last_is_read_and_the_other_counted(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a.png", png(0))
        archive.writestr("a.png", png(1))
    images, last = Images(tmp_path / "s.zip"), Images(write(tmp_path / "last", {"a.png": png(1)}))
    assert images[0:2].equal(last[0:1])
    assert images.unread.endswith("1 file that a later one of the same name replaces is not read")


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path, png):
    with zipfile.ZipFile(inner := io.BytesIO(), "w") as archive:
        archive.writestr("z.png", png(2))
    images = Images(tar(tmp_path / "s.tar", {"0.png": png(0), "1.png": png(1), "z.zip": inner.getvalue()}))
    assert images.names == ["0.png", "1.png"]
    assert images.unread.endswith("1 file of the form .zip is not read; unpack archives")


def test_a_zip_with_windows_separators_has_folders(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for i, name in enumerate(CLASSES):
            for split in ("train", "test"):
                info = zipfile.ZipInfo("x")
                info.filename = f"{split}\\{name}\\0.png"
                archive.writestr(info, png(i))
    made = prepare("cifar10", tmp_path / "s.zip", tmp_path / "data", lambda file, count: None)
    assert [facts["count"] for _, facts in made] == [10, 10]


@pytest.mark.parametrize("utf8", [False, True])
def test_names_in_archives_that_are_not_utf_8_are_read_or_refused_in_a_line(tmp_path, png, utf8):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("cafe\u00e9.png" if utf8 else "cafe__.png", png(0))
    data = (tmp_path / "s.zip").read_bytes()
    (tmp_path / "s.zip").write_bytes(data.replace(b"\xc3\xa9" if utf8 else b"__", b"\xe9\xff"))
    if utf8:
        with pytest.raises(ArchiveError, match="a name in it is not of the encoding that it says"):
            Images(tmp_path / "s.zip")
    else:
        assert len(Images(tmp_path / "s.zip")[0:1]) == 1
    made = tar(tmp_path / "s.tar", {os.fsdecode(b"caf\xe9.png"): png(0)})
    assert len(Images(made)[0:1]) == 1
    assert run("cifar10", made, tmp_path / "data").stderr.startswith("fewstep: caf\\udce9.png: no folder is none of")


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_images_in_one_file_are_refused(tmp_path, picture, form):
    frames = [picture(i) for i in range(3)]
    frames[0].save(tmp_path / f"0.{form.lower()}", format=form, save_all=True, append_images=frames[1:])
    with pytest.raises(ArchiveError, match="3 images in one file, not one still image"):
        Images(tmp_path)


def test_a_photograph_with_its_preview_is_one_image(tmp_path, picture):
    picture(0, 64).save(tmp_path / "0.jpg", format="MPO", save_all=True, append_images=[picture(0, 16)])
    assert Images(tmp_path).shape == (3, 64, 64)


def test_a_form_that_runs_a_program_is_not_decoded(tmp_path, picture, encoded):
    (tmp_path / "0.png").write_bytes(encoded(picture(0), "EPS"))
    with pytest.raises(ArchiveError, match=r"0\.png: not a whole image: of no form"):
        Images(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_counted_and_never_waited_for(tmp_path, png):
    folder = write(tmp_path / "s", {"0.png": png(0)})
    os.mkfifo(folder / "1.png")
    assert Images(folder).unread == f"{folder}: 1 device, pipe or socket file is not read"
    for source in (folder / "1.png", os.devnull):
        result = run("ffhq64", source, tmp_path / "data")
        assert result.stderr == f"fewstep: {source}: neither a file nor a folder\n"


def test_folders_that_link_to_one_another_come_to_an_end(tmp_path, png, monkeypatch):
    for name in (names := [str(i) for i in range(3)]):
        write(tmp_path / "s" / name, {"0.png": png(0)})
        for other in names:
            (tmp_path / "s" / name / f"to{other}").symlink_to(tmp_path / "s" / other, target_is_directory=True)
    names = Images(tmp_path / "s").names
    assert len(names) == len(set(names)) == 15
    monkeypatch.setattr(folders, "FOLLOWED", 10)
    with pytest.raises(ArchiveError, match="more than 10 links to folders, which lead to one another"):
        Images(tmp_path / "s")


def test_a_link_to_a_class_that_is_gone_is_refused(tmp_path, png):
    folder = write(tmp_path / "s", {"dog/0.png": png(0), "README": b""})
    (folder / "cat").symlink_to(tmp_path / "gone")
    result = run("cifar10", folder, tmp_path / "data")
    assert result.stderr == "fewstep: cat: a link to a file or folder that is not there\n"


def test_splits_in_capitals_are_splits_and_what_is_in_neither_is_counted(tmp_path, png):
    members = {f"{split}/{name}/0.png": png(i) for i, name in enumerate(CLASSES) for split in ("Train", "Test", "more")}
    notes = []
    source = write(tmp_path / "s", members)
    made = prepare("cifar10", source, tmp_path / "data", lambda file, count: None, on_note=notes.append)
    assert [facts["count"] for _, facts in made] == [10, 10]
    assert notes == [
        f"{source}: 10 images outside of train and test are not read",
        f"{made[0][0]}: 10 images, cifar10 has 50000",
        f"{made[1][0]}: 10 images, cifar10's test split has 10000",
    ]


def test_what_lies_beside_a_database_is_counted(tmp_path, png, encoded, picture):
    lmdb = pytest.importorskip("lmdb")
    source = tmp_path / "cat_lmdb"
    with lmdb.open(str(source), map_size=2**24) as database, database.begin(write=True) as transaction:
        transaction.put(b"0", encoded(picture(0, 256)))
    write(source, {"1.png": png(1), "LICENSE": b""})
    result = run("lsun-cat", source, tmp_path / "data")
    assert result.exit_code == 0
    assert f"{source}: 1 file of the form .png is not read\n" in result.stderr
    (source / "1.png").unlink()
    (tmp_path / "lsun").mkdir()
    source.rename(tmp_path / "lsun" / "cat_lmdb")
    assert "name the folder of cat_lmdb/data.mdb" in run("lsun-cat", tmp_path / "lsun", tmp_path / "other").stderr


def test_doctor_and_prepare_say_the_same_of_classes(tmp_path, png):
    source = write(tmp_path / "s", {f"{name}/0.png": png(i) for i, name in enumerate(CLASSES) if name != "cat"})
    root = tmp_path / "data"
    said = run("cifar10", source, root).stderr
    assert said == f"fewstep: {root / 'cifar10-32.zip'}: 9 images, cifar10 has 50000; no image of class cat\n"
    found = CliRunner().invoke(main, ["doctor", "--data-root", str(root)])
    assert f"wrong count ({root / 'cifar10-32.zip'} has 9 images, cifar10 has 50000; no image of class cat)" in (
        found.output
    )


def test_classes_of_unequal_size_are_said_where_all_are_alike():
    facts = {"count": 50_000, "images_per_class": [4_999, 5_001, *[5_000] * 8]}
    assert shortfall(DATASETS["cifar10"], facts) == "4999 to 5001 images of a class, cifar10 has 5000 of each"
    assert shortfall(DATASETS["cifar10"], {**facts, "images_per_class": [5_000] * 10}) == ""
    assert shortfall(DATASETS["imagenet64-edm"], {"count": 1_281_167, "images_per_class": [1281] * 988}) == (
        "no image of class 988, 989, 990, 991, 992, 993, 994, 995, 996, 997 and 2 more"
    )


def test_without_images_the_one_line_says_what_is_there(tmp_path):
    source = write(tmp_path / "s", {"a.heic": b"x", "b.heic": b"x"})
    line = "2 files of the form .heic are not read; convert images to PNG"
    assert run("ffhq64", source, tmp_path / "data").stderr == (
        f"fewstep: s: there are no images for ffhq-64.zip; {line}\n"
    )
    with pytest.raises(ArchiveError, match=f"there are no images; {line}"):
        Images(source)


@pytest.mark.parametrize("inside", ["", "deep/down"])
def test_a_file_in_the_way_of_the_data_root_is_one_line(tmp_path, png, inside):
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / inside
    result = run("cifar10", write(tmp_path / "s", {"cat/0.png": png(0)}), root)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"fewstep: {root}: cannot write there: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_in_the_way_of_the_archive_is_one_line_before_anything_is_written(tmp_path, png):
    (tmp_path / "data" / "cifar10-32.zip").mkdir(parents=True)
    result = run("cifar10", write(tmp_path / "s", {"cat/0.png": png(0)}), tmp_path / "data")
    assert result.stderr == f"fewstep: {tmp_path / 'data' / 'cifar10-32.zip'}: cannot write there: it is a folder\n"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10-32.zip"]


def test_what_an_attempt_left_in_another_encoding_is_begun_anew(tmp_path, png):
    write(tmp_path / "data", {".cifar10-32.zip.state": b"\xff\xfe", ".cifar10-32.zip.part": b"\xff"})
    assert run("cifar10", write(tmp_path / "s", {"cat/0.png": png(0)}), tmp_path / "data").exit_code == 0
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10-32.zip"]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from fewstep.bench.cli import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="a process cannot limit its files there")
def test_a_disk_that_takes_no_more_is_one_line_and_the_same_command_goes_on(tmp_path, picture):
    source = tmp_path / "faces"
    source.mkdir()
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
            source / f"{i}.png"
        )
    words = ["prepare", "ffhq64", "--from", str(source), "--data-root", str(tmp_path / "new" / "data")]
    full = subprocess.run([sys.executable, "-c", LIMITED, "30000", *words], capture_output=True, text=True)
    assert full.returncode == 2
    assert full.stderr.endswith("the same command resumes from here\n")
    assert len(full.stderr.splitlines()) == 1
    assert CliRunner().invoke(main, words).exit_code == 0
    assert [path.name for path in (tmp_path / "new" / "data").iterdir()] == ["ffhq-64.zip"]


def test_pixels_that_cannot_be_laid_down_are_one_line(prepared, tmp_path, picture, monkeypatch):
    source = write(tmp_path / "s", {})
    source.mkdir(exist_ok=True)
    picture(0, 64).save(source / "0.png")
    prepared("ffhq64", source)
    for laid in (tmp_path / "data").glob("*.npy"):
        laid.unlink()

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(ArchiveError, match=r"ffhq-64\..*\.npy: cannot be laid down: No space left on device"):
        DATASETS["ffhq64"].load()()


def test_evaluate_counts_what_it_does_not_read_and_measures_the_rest(tmp_path, encoded, picture):
    write(tmp_path / "made", {f"{i}.png": encoded(picture(i, 8, mode="L")) for i in range(40)})
    write(tmp_path / "made", {f"{i}.heic": b"x" for i in range(3)})
    words = ["evaluate", tmp_path / "made", "--dataset", "digits", "--metrics", "precision", "--device", "cpu"]
    result = CliRunner().invoke(main, [*map(str, words), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert f"fewstep: {tmp_path / 'made'}: 3 files of the form .heic are not read; convert images to PNG" in (
        result.stderr.splitlines()
    )
