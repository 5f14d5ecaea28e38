#!/bin/sh
# A batch on several nodes of a Slurm cluster, with Ray between them:
#
#     sbatch --nodes=4 --gpus-per-node=4 examples/slurm.sh /project/faces/jobs.toml
#
# The jobs file, what it names, and facex itself (FACEX, or on the PATH) lie where all nodes see them at the same path.
# Submitted again after a failure or the end of its time, it does what is missing and skips what is complete.

#SBATCH --job-name=facex
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --output=facex-%j.log

set -u

jobs=${1:?usage: sbatch slurm.sh JOBS.toml}
facex=${FACEX:-facex}
ray=${RAY:-ray}
port=${PORT:-6379}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Whoever knows the token may run programs on the nodes, so each run has its own. Nothing is reported to anybody.
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
RAY_USAGE_STATS_ENABLED=0
export RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED

# One task a node: Ray starts on all of them, runs facex on the head, and ends on all when facex has ended.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    "$ray" symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" --include-dashboard false -- \
    "$facex" batch "$jobs" --cluster auto --keep-going --progress plain
