"""A suite means what its author wrote: keys once, numbers as numbers, contradictions refused before anything runs."""

import pytest

from fewstep.bench.errors import InputError
from fewstep.bench.suite import loading as suites

TINY = """\
name: tiny
datasets: digits
teachers: {name: pretrain}
budgets: {evaluations: 1000}
nfe: [2]
samples: 10
metrics: [fd_digits]
methods:
  - name: euler
"""
NETWORK = "teachers: {name: pretrain, network: {name: unet, "


def refusal(tmp_path, text, *settings):
    """What loading answers, which is one line; empty where it loads."""
    file = tmp_path / "s.yaml"
    file.write_text(text)
    try:
        suites.load(str(file), settings)
    except InputError as error:
        complaint = str(error)
    else:
        complaint = ""
    assert "\n" not in complaint
    return complaint.removeprefix(f"{file}:")


def test_the_tiny_suite_loads(tmp_path):
    assert refusal(tmp_path, TINY) == ""


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("nfe: [4]\n", "10: the key 'nfe' appears twice, first on line 5"),
        ("    name: heun\n", "10: the key 'name' appears twice, first on line 9"),
        ("    options: {grid: {rho: 7, rho: 5}}\n", "10: the key 'rho' appears twice, first on line 10"),
    ],
)
def test_a_key_twice_is_an_error_with_both_lines(tmp_path, added, expected):
    assert refusal(tmp_path, TINY + added) == expected


def test_a_key_twice_in_a_setting_is_an_error(tmp_path):
    complaint = refusal(tmp_path, TINY, "methods.0={name: euler, name: heun}")
    assert complaint == "--set methods.0={name: euler, name: heun}: the key 'name' appears twice"


@pytest.mark.parametrize("key", ["yes", "on", "1", "1.5", "~"])
@pytest.mark.parametrize("line", ["{}: 1", "    options: {{{}: 2}}"])
def test_a_key_that_is_no_text_is_named_with_its_line(tmp_path, key, line):
    assert refusal(tmp_path, TINY + line.format(key) + "\n") == f"10: a key must be text: put {key!r} in quotes"


def test_a_misspelt_key_is_named_before_the_one_that_is_missing_for_it(tmp_path):
    complaint = refusal(tmp_path, TINY.replace("- name: euler", "- nam: euler"))
    assert complaint == "9: methods[0].nam: unknown key 'nam'; did you mean 'name'?"
    assert "unknown key '\\ufeffname'; did you mean 'name'?" in refusal(tmp_path, "\ufeff\ufeff" + TINY)


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("seeds: [0\n", "expected ',' or ']', but got '<stream end>', in what begins on line 10"),
        ("seeds:0\n", "could not find expected ':', in what begins on line 10"),
        ("seeds: '0\n", "found unexpected end of stream, in what begins on line 10"),
    ],
)
def test_what_is_not_closed_is_named_by_the_line_that_opens_it(tmp_path, added, expected):
    assert refusal(tmp_path, TINY + added) == f"11: not YAML: {expected}"


def test_what_python_cannot_read_has_its_line(tmp_path):
    assert refusal(tmp_path, TINY + 'description: "\\UFFFFFFFF"\n').startswith("10: not YAML: ")
    (tmp_path / "latin.yaml").write_bytes((TINY + "description: café\n").encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.yaml:10: not UTF-8"):
        suites.load(str(tmp_path / "latin.yaml"))


def test_a_setting_replaces_no_other(tmp_path):
    complaint = refusal(tmp_path, TINY, "nfe.0=3", "nfe=[4]")
    assert complaint == "--set nfe=[4]: 'nfe' would replace what is set by --set nfe.0=3"
    assert refusal(tmp_path, TINY, "nfe=[4]", "nfe.0=3") == ""


def test_merged_keys_give_way_to_written_ones(tmp_path):
    shared = "  - &e {name: euler, options: {grid: {rho: 5}}}\n  - {<<: *e, variant: mine}\n"
    assert refusal(tmp_path, TINY.replace("  - name: euler\n", shared)) == ""


@pytest.mark.parametrize("word", ["yes", "on", "true", "off", "No"])
@pytest.mark.parametrize("key", ["nfe: [2]", "samples: 10", "budgets: {evaluations: 1000}"])
def test_booleans_are_no_numbers(tmp_path, key, word):
    line = key.replace("[2]", f"[{word}]").replace("10", word, 1) if "1000" not in key else key.replace("1000", word)
    value = word.lower() in ("yes", "on", "true")
    assert refusal(tmp_path, TINY.replace(key, line)).endswith(f", not {value}")


@pytest.mark.parametrize("written", ["010", "1:30", "'2'", "2024-01-01", "2.5", "1e-1"])
def test_what_is_no_whole_number_is_no_nfe(tmp_path, written):
    assert "nfe[0]: must be a valid integer" in refusal(tmp_path, TINY.replace("[2]", f"[{written}]"))


@pytest.mark.parametrize("written", ["1000", "1e3", "1.0e+3", "1_000", "0x3e8"])
def test_a_thousand_can_be_written_in_many_ways(tmp_path, written):
    file = tmp_path / "s.yaml"
    file.write_text(TINY.replace("1000", written))
    assert suites.load(str(file)).budgets[0].amount == 1000


@pytest.mark.parametrize("written", [".inf", "-.inf", ".nan", "1e999"])
@pytest.mark.parametrize("line", ["budgets: {evaluations: X}", "budgets: {flops: X}", "truth: {tolerance: X}"])
def test_numbers_are_finite(tmp_path, line, written):
    text = TINY.replace("budgets: {evaluations: 1000}", line) if "budgets" in line else TINY + line
    assert "must be a finite number" in refusal(tmp_path, text.replace("X", written))


@pytest.mark.parametrize("options", ["{grid: {rho: .inf}}", "{grid: {noise_max: .nan}}", "{thresholding: .inf}"])
def test_options_are_finite(tmp_path, options):
    assert "must be a finite number" in refusal(tmp_path, f"{TINY}    options: {options}\n")


def test_edms_infinite_s_max_is_the_default(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(TINY.replace("euler", "heun") + "    options: {S_churn: 10, S_max: .inf}\n")
    assert suites.load(str(file)).methods[0].checked().S_max is None


def test_seeds_are_such_that_tables_can_hold_them(tmp_path):
    assert refusal(tmp_path, TINY + f"seeds: [{2**63 - 1}]\n") == ""
    assert "must be less than or equal to 9223372036854775807" in refusal(tmp_path, TINY + f"seeds: [{2**63}]\n")


@pytest.mark.parametrize(
    ("key", "twice"),
    [
        ("datasets: digits", "datasets: [digits, digits]"),
        ("budgets: {evaluations: 1000}", "budgets: [{evaluations: 1000}, {evaluations: 1.0e+3}]"),
        ("nfe: [2]", "nfe: [2, 0x2]"),
        ("metrics: [fd_digits]", "metrics: [fd_digits, fd_digits]"),
        ("name: euler", "name: euler\n    nfe: [2, 2]"),
        ("name: euler", "name: consistency\n    budgets: [{images: 500}, {images: 500.0}]"),
        ("name: euler", "name: sim\n    nfe: 1\n    tune: {trials: [{learning_rate: 1e-3}, {learning_rate: 0.001}]}"),
        ("name: euler", "name: heun\n  - {name: heun, options: {grid: {rho: 7}}}"),
        ("{name: pretrain}", "[{name: pretrain, images: 2000}, {name: pretrain, images: 2.0e+3}]"),
    ],
)
def test_what_is_equal_when_read_stands_once(tmp_path, key, twice):
    assert "appears twice" in refusal(tmp_path, TINY.replace(key, twice))


@pytest.mark.parametrize(
    ("key", "wrong", "complaint"),
    [
        ("name: euler", "name: euler\n    options: {grid: {noise_min: 5, noise_max: 1}}", "less than noise_max"),
        ("name: euler", "name: euler\n    options: {grid: {spacing: ddim-uniform}}", "discrete path"),
        ("name: euler", "name: heun\n    options: {grid: {spacing: ddim-quad}}", "discrete path"),
        ("{name: pretrain}", "{name: exact, sigma_min: 50, sigma_max: 0.1}", "less than sigma_max"),
        ("{name: pretrain}", "{name: pretrain, sigma_min: 1, sigma_max: 1}", "less than sigma_max"),
        ("teachers: {name: pretrain", NETWORK + "multipliers: []}", "at least 1 item"),
        ("teachers: {name: pretrain", NETWORK + "multipliers: [1, 0]}", "greater than or equal to 1"),
        ("teachers: {name: pretrain", NETWORK + "multipliers: [1, 1, 1, 1, 1, 1]}", "images have side 8"),
        ("teachers: {name: pretrain", NETWORK + "channels: 12}", "multiple of 8"),
        ("name: euler", "name: euler\n    options: {denoise_to_zero: true}", "denoise_to_zero needs grid.end: min"),
        (
            "name: euler",
            "name: euler\n    options: {grid: {noise_min: 100}}",
            "from noise level 40 to 100; it must fall",
        ),
        ("name: euler", "name: euler\n    options: {grid: {noise_max: 1e-3}}", "from noise level 0.001 to 0.01"),
        ("name: euler", "name: euler\n    options: {path: flow-ot}", "which a karras grid cannot reach"),
        ("name: euler", "name: pndm\n    options: {integer_labels: true}", "needs labels of a discrete path"),
        ("name: euler", "name: pndm\n    options: {integer_labels: true, path: vp-linear}", "needs a discrete path"),
        ("name: euler", "name: heun\n    options: {S_churn: 1, S_min: 5, S_max: 1}", "S_min must be at most S_max"),
        ("name: euler", "name: consistency\n    options: {batch: 1001}", "buy no step of consistency"),
        ("name: euler", "name: consistency\n    budgets: {images: 3}", "buy no step of consistency"),
        ("name: euler", "name: euler\n    variant: ''", "at least 1 character"),
        ("name: tiny", f"name: {'x' * 101}", "at most 100 characters"),
    ],
)
def test_fields_that_contradict_each_other_are_found_at_loading(tmp_path, key, wrong, complaint):
    found = refusal(tmp_path, TINY.replace(key, wrong))
    assert complaint in found
    assert found.split(":")[0].isdigit()


@pytest.mark.parametrize("opened", ["[", "{a: ", "- "])
def test_deep_nesting_is_one_line(tmp_path, opened):
    assert "nested more than 50 levels deep" in refusal(tmp_path, opened * 3000)


def test_aliases_cannot_multiply(tmp_path):
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert "more than 20000 values" in refusal(tmp_path, laughs)


@pytest.mark.parametrize(
    "setting",
    [
        "methods.²=x",
        "methods.9=x",
        "methods.00.name=x",
        "teachers.0.name=x",
        "1=2",
        "=3",
        "nfe",
        "nfe=[",
        "nfe." + "x" * 5000 + "=1",
    ],
)
def test_settings_that_mean_nothing_are_one_short_line(tmp_path, setting):
    complaint = refusal(tmp_path, TINY, setting)
    assert complaint.startswith("--set ")
    assert len(complaint) < 400


def test_a_name_that_no_file_can_have_is_one_short_line():
    for name in ("x" * 5000, "a\0b", ""):
        with pytest.raises(InputError, match="not a file, nor a shipped suite") as refused:
            suites.load(name)
        assert len(str(refused.value)) < 300
