#!/usr/bin/env bash
# test.sh PROGRAM CASE: what the laboratory promises besides its figures. Run by ctest.
set -uo pipefail
program=$1 case=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# sentence=... refuses ARGUMENT...: exit code 2 and one sentence on stderr that has $sentence in it
refuses() {
  "$program" "$@" >"$folder/stdout" 2>"$folder/stderr"
  local code=$?
  ((code == 2)) || fail "$*: exit code $code instead of 2"
  [[ $(wc -l <"$folder/stderr") -eq 1 ]] || fail "$*: not one line on stderr: $(cat "$folder/stderr")"
  grep -qF -- "$sentence" "$folder/stderr" || fail "$*: '$sentence' is not in: $(cat "$folder/stderr")"
  cat "$folder/stderr"
}
compares() { "$program" --smoke "$@" >"$folder/stdout" || fail "$*: exit code $?"; }
# runs FOLDER: how many outcomes its file has. Fails where it is no JSON.
runs() { python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["runs"]))' "$1/results.json" || fail "$1: no JSON"; }
# figures FOLDER: the outcomes without what depends on the clock
figures() {
  python3 -c 'import json, sys
for run in json.load(open(sys.argv[1]))["runs"]: print({key: run[key] for key in run if key != "seconds"})' "$1/results.json"
}

case $case in
  errors)
    sentence="there is no router 'softmx'; there are: softmax-top-k, top-k-softmax" refuses --smoke --routers softmx
    sentence="there is no balancer 'swich*'" refuses --smoke --balancers none 'swich*'
    sentence="none of these routers goes with one of these balancers" refuses --smoke --routers hash --balancers switch --out "$folder/o"
    sentence="--top-k is 8" refuses --experts 4 --top-k 8
    sentence="it is no multiple of the 3 --micro-batches" refuses --micro-batches 3
    sentence="there is no file $folder/none" refuses --text "$folder/none" --out "$folder/o"
    : >"$folder/file"
    sentence="cannot write to the folder $folder/file/out" refuses --out "$folder/file/out"
    mkdir "$folder/other" && echo '{"settings": ' >"$folder/other/results.json"
    sentence="results.json is not a file of results" refuses --smoke --resume --out "$folder/other"
    "$program" --seeds many >/dev/null 2>&1
    (($? == 2)) || fail "--seeds many: not exit code 2"
    "$program" --list | grep '^  expert-choice ' >/dev/null || fail "--list does not list"
    ;;
  resume) # what stands is not made again; what is missing is; other settings are refused
    compares --routers hash random --seeds 1 --out "$folder/out"
    (($(runs "$folder/out") == 2)) || fail "not two runs"
    cp "$folder/out/results.json" "$folder/before.json"
    compares --routers hash random --seeds 1 --resume --out "$folder/out"
    cmp "$folder/before.json" "$folder/out/results.json" || fail "a run that stands was made again"
    compares --routers hash random --seeds 2 --resume --out "$folder/out"
    (($(runs "$folder/out") == 4)) || fail "not four runs after --seeds 2"
    compares --routers hash random --seeds 2 --out "$folder/whole"
    diff <(figures "$folder/out") <(figures "$folder/whole") || fail "in two parts the figures are others than at once"
    cp "$folder/out/results.json" "$folder/before.json"
    sentence="have other settings or another text" refuses --smoke --routers hash --steps 9 --resume --out "$folder/out"
    compares --routers hash --seeds 1 --out "$folder/out"
    (($(runs "$folder/out") == 1)) || fail "without --resume it did not begin anew"
    cmp "$folder/before.json" "$folder/out/results.old.json" || fail "the earlier results were not kept"
    ;;
  interrupt) # Ctrl-C: the runs before it are in the file and in the report, and the comparison goes on from them
    "$program" --smoke --routers hash --seeds 1500 --out "$folder/out" >"$folder/stdout" &
    pid=$!
    for ((i = 0; i < 600; ++i)); do
      grep -q 'bits/byte' "$folder/stdout" && break
      sleep 0.1
    done
    kill -INT "$pid"
    wait "$pid"
    code=$?
    ((code == 130)) || fail "exit code $code instead of 130"
    made=$(runs "$folder/out")
    ((made > 0 && made < 1500)) || fail "$made runs"
    [[ -s $folder/out/report.html ]] || fail "no report"
    compares --routers hash --seeds 1 --resume --out "$folder/out"
    (($(runs "$folder/out") == made)) || fail "what was made before is not there any more"
    ;;
  threads) # the same figures for any number of threads
    for threads in 1 2 3; do compares --routers softmax-top-k noisy-top-k expert-choice --balancers none switch --seeds 1 --threads "$threads" --out "$folder/$threads"; done
    diff <(figures "$folder/1") <(figures "$folder/2") || fail "2 threads have other figures than 1"
    diff <(figures "$folder/1") <(figures "$folder/3") || fail "3 threads have other figures than 1"
    ;;
  left_out) # pairs without a meaning are not tried, and the report says why; a capacity drops
    compares --routers sigmoid-top-k softmax-top-k --balancers bias load none --seeds 1 --capacity 0.5 --out "$folder/out"
    (($(runs "$folder/out") == 3)) || fail "not three runs: $(cat "$folder/stdout")"
    grep -q 'moves a selection bias, which the router has not' "$folder/out/report.html" || fail "no reason in the report"
    figures "$folder/out" | grep "'dropped': 0.[1-9]" >/dev/null || fail "nothing was dropped"
    compares --routers top-k-softmax hash --balancers none --top-k 1 --seeds 1 --out "$folder/one"
    grep -q 'a softmax over one chosen expert is always 1' "$folder/one/report.html" || fail "a refusal of the library is not in the report"
    ;;
  *) fail "there is no case $case" ;;
esac
