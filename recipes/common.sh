# What the recipes share: `./run.sh [small|cpu|full] [WORK] [DATA]`, and steps that are done once.
# small: minutes, to see that all works; cpu: what the README's figures come from; full: as the report had it.
# WORK: the folder for everything that is written; `work` when left out. DATA: your own images in place of those that
# the recipe takes. The same command goes on where it was stopped.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
size=${1:-cpu}
case $size in
    small | cpu | full) ;;
    *) echo "usage: $0 [small|cpu|full] [WORK] [DATA]" >&2 && exit 2 ;;
esac
mkdir -p "${2:-$here/work}"
work=$(cd "${2:-$here/work}" && pwd)
data=${3:+$(cd "$3" && pwd)}

# run COMMAND...: shows it and runs it.
run() {
    echo "\$ $*" >&2
    "$@"
}

# once RESULT COMMAND...: as `run`, unless the result is there.
once() {
    result=$1
    shift
    [ -e "$result" ] || run "$@"
}

# kept FILE COMMAND...: as `once`, and what it prints is the file.
kept() {
    file=$1
    shift
    if [ ! -e "$file" ]; then
        run "$@" > "$file.part"
        mv "$file.part" "$file"
    fi
    cat "$file"
}
