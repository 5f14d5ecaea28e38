#!/bin/sh
# A nightly batch, as cron would run it:
#
#     30 1 * * *  /srv/faces/nightly.sh /srv/faces/nightly.toml
#
# Run again after a crash, a reboot or a failure, it does what is missing and skips what is complete. It writes a log
# beside the jobs file and ends with facex's exit code; `report` is the place for a mail or a message to somebody.
#
# FACEX: the program (facex). WORKERS: jobs side by side (1). RETRIES: of what may pass, such as lack of memory (1).

set -u

jobs=${1:?usage: nightly.sh JOBS.toml}
facex=${FACEX:-facex}
stem=${jobs%.*}
log=$stem.log
results=$stem.results.jsonl

report() {
    printf '%s: %s\n' "$(basename "$jobs")" "$1"
}

# The jobs in a state, by the results file: one line a job.
count() {
    grep -c "\"state\": \"$1\"" "$results" 2>/dev/null || true
}

"$facex" batch "$jobs" --keep-going --retry "${RETRIES:-1}" --workers "${WORKERS:-1}" \
    --results "$results" --progress plain >"$stem.outputs" 2>"$log"
code=$?

case $code in
    0)
        report "complete: $(count done) done, $(count skipped) were there already"
        ;;
    8)
        report "$(count failed) failed, $(count done) done; the others are not affected"
        grep '"state": "failed"' "$results" | sed 's/.*"output": "\([^"]*\)".*"message": "\([^"]*\)".*/  \1: \2/'
        ;;
    2 | 3)
        report "nothing was started, the jobs have mistakes:"
        sed 's/^/  /' "$log"
        ;;
    7)
        report "no place for the results: $(tail -n 2 "$log" | head -n 1)"
        ;;
    130)
        report "interrupted after $(count done) jobs; the next night goes on"
        ;;
    *)
        report "facex ended with $code; see $log"
        ;;
esac
exit "$code"
