#!/usr/bin/env bash
# Usage: tools/dist_train.sh CONFIG GPUS [ARGUMENTS OF tools/train.py]
# With --resume, processes that die are started again, MAX_RESTARTS times (3).
# Several machines: set NNODES, MASTER_ADDR and PORT on each, and NODE_RANK, 0 on MASTER_ADDR.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
CONFIG=$1
GPUS=$2
shift 2

# Without --resume, or with --resume FILE, they would begin where they began before.
case " $* --" in
    *' --resume --'*) RESTARTS=${MAX_RESTARTS:-3} ;;
    *) RESTARTS=0 ;;
esac

# exec: signals are for the launcher.
exec python -m edgenext_mm.launch \
    --nnodes="${NNODES:-1}" \
    --nproc-per-node="$GPUS" \
    --rdzv-backend=c10d \
    --rdzv-id=edgenext_mm \
    --rdzv-endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-$((${NNODES:-1} > 1 ? 29500 : 0))}" \
    ${NODE_RANK:+--rdzv-conf=is_host=$((NODE_RANK == 0))} \
    --max-restarts="$RESTARTS" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
