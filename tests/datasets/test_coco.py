"""COCO's images and the frozen captions: which they are never changes."""

import hashlib
import json
import random
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fewstep.bench.commands.main import main
from fewstep.datasets import coco
from fewstep.datasets.captions import captions
from fewstep.datasets.facts import ArchiveError
from fewstep.datasets.prepare import prepare
from fewstep.datasets.preprocess import edm_lanczos
from fewstep.datasets.registry import DATASETS

COUNT = 7


def annotations(count=COUNT, captions=5, seed=0):
    """captions_val2014.json as COCO writes it, its lists in no order."""
    rng = random.Random(seed)
    ids = rng.sample(range(1, 600_000), count)
    images = [
        {
            "license": 3,
            "file_name": f"COCO_val2014_{i:012d}.jpg",
            "coco_url": f"http://images.cocodataset.org/val2014/COCO_val2014_{i:012d}.jpg",
            "height": 300,
            "width": 340,
            "date_captured": "2013-11-14 11:18:45",
            "flickr_url": "",
            "id": i,
        }
        for i in ids
    ]
    numbers = rng.sample(range(1, 900_000), count * captions)
    rows = [
        {
            "image_id": ids[k % count],
            "id": number,
            "caption": f"A picture \u2028 of {ids[k % count]}, number {number}. ",
        }
        for k, number in enumerate(numbers)
    ]
    rng.shuffle(rows)
    return {"info": {"year": 2014}, "images": images, "licenses": [], "annotations": rows}


@pytest.fixture
def source(tmp_path, picture):
    """A folder as people have it: val2014 and annotations."""
    content, root = annotations(), tmp_path / "coco"
    (root / "val2014").mkdir(parents=True)
    (root / "annotations").mkdir()
    for i, image in enumerate(content["images"]):
        picture(i, 340, 300, "L" if i == 2 else "RGB").save(root / "val2014" / image["file_name"])
    for year in ("2014", "2017"):
        (root / "annotations" / f"captions_val{year}.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("name", ["coco2014", "coco2017"])
def test_images_are_in_the_order_of_their_ids_cropped_and_resized(source, prepared, name):
    data, (facts,) = prepared(name, source)
    files = sorted((source / "val2014").iterdir())
    expected = np.stack([edm_lanczos(Image.open(file).convert("RGB"), 256) for file in files])
    np.testing.assert_array_equal(data.images[:].permute(0, 2, 3, 1).numpy(), expected)
    assert facts["captions"]["count"] == COUNT
    assert data.labels(torch.arange(3)) is None


def test_folders_and_the_published_zips_make_the_same_archive(source, prepared, tmp_path):
    zips = tmp_path / "zips"
    zips.mkdir()
    for stem, folder in (("val2014", "val2014"), ("annotations_trainval2014", "annotations")):
        with zipfile.ZipFile(zips / f"{stem}.zip", "w") as packed:
            for file in (source / folder).iterdir():
                packed.write(file, file.relative_to(source))
    one, other = prepared("coco2014", source)[1], prepared("coco2014", zips)[1]
    assert (one[0]["sha256"], one[0]["captions"]) == (other[0]["sha256"], other[0]["captions"])


def test_coco2017_has_the_first_caption_of_each_image(source, prepared):
    data, _ = prepared("coco2017", source)
    content = json.loads((source / "annotations" / "captions_val2017.json").read_text())
    for row, image in enumerate(sorted(image["id"] for image in content["images"])):
        first = min((a for a in content["annotations"] if a["image_id"] == image), key=lambda a: a["id"])
        assert data.prompts[row] == " ".join(first["caption"].split())


def test_coco2014_has_one_caption_each_of_so_many_images(source):
    _, rows = coco._read(member(annotations(50)))
    chosen = coco.drawn(rows, 30)
    assert len({row for row, _ in chosen}) == len(chosen) == 30
    assert [row for row, _ in chosen] == sorted(row for row, _ in chosen)
    assert all(caption in rows[row] for row, caption in chosen)
    assert len({rows[row].index(caption) for row, caption in chosen}) == 5
    assert len(coco.drawn(rows, 30_000)) == 50


def member(content):
    return coco.Member("captions_val2014.json", lambda: json.dumps(content).encode())


def test_the_frozen_lists_are_these_and_do_not_depend_on_the_order_of_the_file():
    """A rule that chooses others is another data set."""
    for shuffled in (False, True):
        content = annotations(400)
        if shuffled:
            random.Random(5).shuffle(content["annotations"])
            content["images"].reverse()
        _, rows = coco._read(member(content))
        found = {
            rule.__name__: hashlib.sha256(str([c["id"] for _, c in rule(rows, 300)]).encode()).hexdigest()[:16]
            for rule in (coco.drawn, coco.first)
        }
        assert found == {"drawn": "9dac99b1c113f6a3", "first": "acbcec177bfcb1fb"}


def test_the_frozen_list_and_its_hash_lie_in_the_archive(source, prepared, tmp_path):
    _, (facts,) = prepared("coco2014", source)
    with zipfile.ZipFile(tmp_path / "data" / "coco2014-256.zip") as packed:
        lines = packed.read("captions.jsonl")
    assert hashlib.sha256(lines).hexdigest() == facts["captions"]["sha256"]
    content = json.loads((source / "annotations" / "captions_val2014.json").read_text())
    by_id = {annotation["id"]: annotation for annotation in content["annotations"]}
    images = sorted(image["id"] for image in content["images"])
    for line in map(json.loads, lines.splitlines()):
        annotation = by_id[line["id"]]
        assert line["caption"] == " ".join(annotation["caption"].split())
        assert images[line["image"]] == line["image_id"] == annotation["image_id"]


def test_a_list_that_was_changed_in_the_archive_is_refused(source, prepared, tmp_path):
    prepared("coco2014", source)
    path = tmp_path / "data" / "coco2014-256.zip"
    with zipfile.ZipFile(path) as packed:
        members = {info.filename: packed.read(info) for info in packed.infolist()}
    members["captions.jsonl"] = members["captions.jsonl"].replace(b"A picture", b"A drawing")
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    with pytest.raises(ArchiveError, match="its captions have another hash than it says; prepare it again"):
        DATASETS["coco2014"].load()()


def test_other_captions_are_another_archive(source, prepared):
    _, (before,) = prepared("coco2014", source)
    file = source / "annotations" / "captions_val2014.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation["caption"] = "Another."
    file.write_text(json.dumps(content))
    _, (after,) = prepared("coco2014", source)
    assert before["sha256"] != after["sha256"]


def test_a_samples_caption_is_a_function_of_its_index(source, prepared):
    data, _ = prepared("coco2014", source)
    drawn = captions("coco2014", range(COUNT * 2 + 3))
    assert drawn == [*data.prompts, *data.prompts, *data.prompts[:3]]
    assert captions("coco2014") == list(data.prompts)
    assert captions("coco2014", [11, 2, COUNT + 2]) == [drawn[i] for i in (11, 2, 2)]


def test_a_caption_is_one_line(source, prepared):
    """Some of COCO's have line ends and other spaces within."""
    file = source / "annotations" / "captions_val2017.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation["caption"] = " A dog\n\u2028on  a\tlead. \n"
    file.write_text(json.dumps(content))
    prepared("coco2017", source)
    assert set(captions("coco2017")) == {"A dog on a lead."}


def test_the_command_prints_the_list(source, prepared, tmp_path):
    data, _ = prepared("coco2014", source)

    def command(*words):
        return CliRunner().invoke(main, ["captions", *words, "--data-root", str(tmp_path / "data")])

    assert command("coco2014").output.splitlines() == list(data.prompts)
    assert command("coco2014", "--count", "3").output.splitlines() == list(data.prompts[:3])
    for words, message in [
        (["cocoo2014"], "unknown dataset 'cocoo2014'; did you mean 'coco2014'?"),
        (["cifar10"], "cifar10 has no captions; scenes, coco2014, coco2017 have"),
        (["coco2017"], f"missing {tmp_path / 'data' / 'coco2017-256.zip'}, get it by `fewstep prepare coco2017"),
    ]:
        refused = command(*words)
        assert refused.exit_code == 2
        assert refused.stderr.startswith(f"fewstep: {message}")


def without_image(root):
    file = sorted((root / "val2014").iterdir())[3]
    file.unlink()
    return f"{file.name}: captions_val2014.json lists it, and it is not there"


def without_annotations(root):
    (root / "annotations" / "captions_val2014.json").unlink()
    return "captions_val2014.json is not there; get annotations_trainval2014.zip"


def other_json(root):
    (root / "annotations" / "captions_val2014.json").write_text('{"images": [{"id": 1}], "annotations": [7]}')
    return "captions_val2014.json: not COCO's captions"


def stray_caption(root):
    file = root / "annotations" / "captions_val2014.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["image_id"] = -1
    file.write_text(json.dumps(content))
    return "captions_val2014.json: not COCO's captions"


@pytest.mark.parametrize("broken", [without_image, without_annotations, other_json, stray_caption])
def test_what_is_wrong_with_a_source_is_said_by_name(source, tmp_path, broken):
    message = broken(source)
    with pytest.raises(ArchiveError, match=message):
        prepare("coco2014", source, tmp_path / "data", lambda file, count: None)
    assert not (tmp_path / "data").exists()
