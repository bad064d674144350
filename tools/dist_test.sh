#!/usr/bin/env bash
# Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [ARGUMENTS OF tools/test.py]
# Several machines: set NNODES, MASTER_ADDR and PORT on each, and NODE_RANK, 0 on MASTER_ADDR.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3

exec python -m edgenext_mm.launch \
    --nnodes="${NNODES:-1}" \
    --nproc-per-node="$GPUS" \
    --rdzv-backend=c10d \
    --rdzv-id=edgenext_mm \
    --rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-$((${NNODES:-1} > 1 ? 29500 : 0))}" \
    ${NODE_RANK:+--rdzv-conf=is_host=$((NODE_RANK == 0))} \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
