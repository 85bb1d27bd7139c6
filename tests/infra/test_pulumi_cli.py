"""The program under Pulumi's own command line, with moto for AWS: what the stand-in engine stands for. Runs where `pulumi` is."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT
from tests.infra.stack import IMAGE
from tests.infra.stand_in.cloud import Cloud

SERVICES = ("autoscaling", "budgets", "cloudwatch", "ec2", "elbv2", "events", "iam", "logs", "s3", "sns", "sqs", "ssm", "sts")


def pulumi(*words: str, env: dict[str, str]) -> str:
    """Run it in the checkout; what it said."""
    done = subprocess.run(["pulumi", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.needs_pulumi_cli
def test_preview_and_up_with_pulumis_own_command_line(aws: Cloud, tmp_path: Path) -> None:
    if shutil.which("pulumi") is None:
        pytest.skip("Pulumi's command line is not installed; preview and up ran on the stand-in engine alone")
    (tmp_path / "state").mkdir()
    env = {
        **os.environ, "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}", "PULUMI_CONFIG_PASSPHRASE": "stand-in",
        "AWS_ACCESS_KEY_ID": "stand-in", "AWS_SECRET_ACCESS_KEY": "stand-in",
    }  # fmt: skip
    settings = {
        "medic:image": IMAGE, "medic:minSize": "0", "medic:onDemandBase": "0", "aws:skipCredentialsValidation": "true",
        "aws:skipRequestingAccountId": "true", "aws:s3UsePathStyle": "true",
        "aws:endpoints": json.dumps([dict.fromkeys(SERVICES, aws.endpoint)]),
    }  # fmt: skip
    config = tmp_path / "Pulumi.cli.yaml"
    words = ["--stack", "cli", "--config-file", str(config), "--non-interactive"]
    pulumi("stack", "init", "cli", "--non-interactive", env=env)
    for key, value in settings.items():
        pulumi("config", "set", key, value, *words[:4], env=env)

    preview = pulumi("preview", *words, env=env)
    up = pulumi("up", "--yes", *words, env=env)

    assert "to create" in preview
    assert "created" in up
    groups = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [each["AutoScalingGroupName"] for each in groups] == ["medic-cli-gpu"]
