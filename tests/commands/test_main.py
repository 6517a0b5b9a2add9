from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import foldmon
from foldmon.commands import doctor
from foldmon.commands.main import main
from foldmon.config.options import Config


def made_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


MODEL = f"{__name__}:made_model"


@pytest.fixture
def data(tmp_path, held_out):
    np.savez(tmp_path / "held_out.npz", x=held_out[0].numpy(), y=held_out[1].numpy())
    return str(tmp_path / "held_out.npz")


@pytest.fixture
def checkpoint(tmp_path):
    model = made_model()
    with torch.no_grad():
        model[2].weight.mul_(-1)
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "last.pt")
    return model, str(tmp_path / "last.pt")


def printed(capsys, *arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_measure_gives_the_checkpoints_folding_as_json(capsys, data, checkpoint, held_out):
    model, path = checkpoint
    out = printed(
        capsys, "measure", MODEL, "--checkpoint", path, "--data", data, "--method", "sampled", "--json"
    )
    expected = foldmon.measure(model, foldmon.draw_pairs(held_out, 64)).to_dict()
    assert json.loads(out)["network_r1"] == expected["network_r1"]
    assert json.loads(out)["phi"] == expected["phi"]


def test_measure_gives_a_table(capsys, data):
    out = printed(capsys, "measure", MODEL, "--data", data, "--layers", "3", "--points", "5")
    assert out.startswith("phi 0.")
    assert "\n3 " in out
    assert "\n1 " not in out


@pytest.mark.parametrize("form", ["tensor", "pair", "dict"])
def test_measure_reads_torch_files(capsys, tmp_path, held_out, form):
    x, y = held_out
    torch.save({"tensor": x, "pair": (x, y), "dict": {"input": x, "labels": y}}[form], tmp_path / "x.pt")
    assert "phi" in printed(capsys, "measure", MODEL, "--data", str(tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere:f", "--data", "x.npz"], "'nowhere:f' cannot be found"),
        (["json", "--data", "x.npz"], "must have the form module:function"),
        (["json:decoder", "--data", "x.npz"], "is a module, not a function"),
        (["collections:OrderedDict", "--data", "x.npz"], "returned a OrderedDict, not a torch.nn.Module"),
        ([MODEL, "--data", "absent.npz"], "No such file"),
        ([MODEL, "--data", "text.npz"], "no .npz file of plain arrays"),
        ([MODEL, "--data", "unnamed.npz"], "inputs are to be named x"),
        ([MODEL, "--data", "text.pt"], "no file of plain tensors"),
        ([MODEL, "--data", "held_out.npz", "--checkpoint", "text.pt"], "no file of plain tensors"),
        ([MODEL, "--data", "held_out.npz", "--checkpoint", "list.pt"], "holds no state dict"),
        ([MODEL, "--data", "held_out.npz", "--checkpoint", "other.pt"], "are not the model's"),
    ],
)
def test_what_measure_cannot_use_is_named(capsys, tmp_path, data, arguments, message):
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "text.pt").write_text("no archive")
    np.savez(tmp_path / "unnamed.npz", np.zeros(3))
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    assert main(["measure", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("foldmon measure: ")
    assert message in error
    assert "Traceback" not in error


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys, data):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save(Evil(), tmp_path / "evil.pt")
    assert main(["measure", MODEL, "--data", data, "--checkpoint", str(tmp_path / "evil.pt")]) == 1
    assert not (tmp_path / "owned").exists()


@pytest.fixture
def run_folder(mlp, held_out, tmp_path):
    with foldmon.watch(mlp, held_out, exporters=["tensorboard"], log_dir=tmp_path / "run") as monitor:
        monitor.probe()
    return str(tmp_path / "run")


def test_report_names_what_it_wrote(capsys, run_folder, tmp_path):
    out = printed(capsys, "report", run_folder, "--out", str(tmp_path / "page.html"), "--json")
    written = json.loads(out)["written"]
    assert str(tmp_path / "page.html") in written
    assert all(os.path.getsize(path) for path in written)


def test_replay_brings_a_journal_to_a_backend(capsys, run_folder, tmp_path):
    out = printed(capsys, "replay", run_folder, "--to", "tensorboard", "--log-dir", str(tmp_path / "other"))
    assert out.strip().endswith("delivered to tensorboard")
    assert list((tmp_path / "other" / "foldmon").glob("events.out.*"))


def test_replay_says_where_there_is_no_journal(capsys, tmp_path):
    assert main(["replay", str(tmp_path), "--to", "tensorboard"]) == 1
    assert "no journal at" in capsys.readouterr().err


def test_live_shows_a_run_that_has_ended(capsys, run_folder):
    assert "phi" in printed(capsys, "live", run_folder)


def test_config_prints_a_file_that_watch_takes(capsys):
    assert Config(**yaml.safe_load(printed(capsys, "config"))) == Config()
    assert json.loads(printed(capsys, "config", "--json")) == Config().to_dict()


def test_doctor_finds_a_measurement_that_works(capsys):
    code = main(["doctor", "--json"])
    found = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["torch"]["state"] == "ok"
    # torch tells its build (+cpu, +cu130) in both places, in one of them or in none.
    assert found["torch"]["detail"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["measuring"]["state"] == "ok"
    assert code == int(any(row["state"] == "broken" for row in found.values()))


def test_doctor_tells_a_dead_mlflow_server(monkeypatch):
    # Not the environment: another test may have set the address in this process, which is stronger.
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "http://me:secret@127.0.0.1:9")
    found = {finding.what: finding for finding in doctor.findings()}
    assert found["MLflow"].state == "broken"
    assert "does not answer" in found["MLflow"].detail
    assert "secret" not in found["MLflow"].detail


def test_doctor_survives_a_look_that_fails(monkeypatch):
    monkeypatch.setattr(doctor, "_gpu", lambda: 1 / 0)
    found = {finding.what: finding for finding in doctor.findings()}
    assert found["GPU"] == doctor.Finding("GPU", "broken", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("command", ["demo", "measure", "report", "live", "replay", "config", "doctor"])
def test_each_subcommand_has_help_with_an_example(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"example:\n  foldmon {command}" in capsys.readouterr().out


def test_a_wrong_command_line_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["measur"])
    assert stopped.value.code == 2


def test_an_interrupt_exits_with_130(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "findings", interrupted)
    assert main(["doctor"]) == 130


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m foldmon.commands.main config | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
