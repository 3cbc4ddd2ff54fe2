# What every shell and every Ray process of a node has in its environment. `own.yaml`, `aws.yaml` and
# `gcp.yaml` copy this file to each node and source it before Ray starts; `slurm.sbatch` sources it too.
# shellcheck shell=bash

export PATH="$HOME/embedlib-node/venv/bin:$PATH"

# Who has not the token can neither join nor submit. The file comes from the machine of the user.
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$HOME/embedlib-node/auth_token"
export RAY_USAGE_STATS_ENABLED=0

# The head asks each node for a sign of life. A node is lost after three answers that did not come:
# 3 * (2 s + 2 s) for one that froze or whose network is gone, where Ray's defaults take 65 s.
export RAY_health_check_initial_delay_ms=0
export RAY_health_check_period_ms=2000
export RAY_health_check_timeout_ms=2000
export RAY_health_check_failure_threshold=3

# An actor that asked for no card sees none; Ray 2.60 shows it all of them.
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1

# Where the driver looks for weights.
export EMBEDLIB_MODELS="${EMBEDLIB_MODELS:-/srv/embedlib/models}"

# Ray keeps a connection to each process of its node; where the system allows no more, so be it.
ulimit -n 65536 2> /dev/null || true
