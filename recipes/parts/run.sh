#!/bin/sh
# Body parts as a tree of three levels: two networks, three losses, flat and by level.
# ./run.sh [small|cpu|full] [WORK] [DATA]
# DATA: a dataset with a class tree in its dataset.yaml.
. "$(dirname "$0")/../common.sh"
case $size in
    small)
        net='{channels: [4, 8], bottleneck: 8}'
        set -- --set "data.image_size=[64,64]" --set train.iterations=20 --set train.evaluate_every=10
        ;;
    cpu)
        net='{channels: [8, 16, 32, 64], bottleneck: 64, depth: 3}'
        set -- --set "data.image_size=[96,96]" --set train.iterations=160 --set train.evaluate_every=40
        ;;
    full)
        net='{channels: [64, 128, 256, 512], bottleneck: 512, depth: 3}'
        set --
        ;;
esac

if [ -z "$data" ]; then
    data=$work/data
    once "$data" maskwright demo --only-data --subject people --planted 0 --size 192 --out "$data"
    cp "$here/dataset.yaml" "$data/dataset.yaml" # the classes as a tree
fi
once "$work/audit" maskwright audit "$data" --out "$work/audit" --overlays 12 --fail-on never

# Networks and losses; then what was wished for, beside a training that goes on as it was.
run maskwright study "$here/$size.yaml" --set "data.root=$data" "$@" --workers 2 --out "$work/study"
first=$work/study/runs/unet_ce_seed0
run maskwright study "$here/wishes.yaml" --set "data.root=$data" "$@" --workers 2 \
    --set "model={name: UNet, args: $net, weights: $first}" --out "$work/wishes"

# One model, pixels labelled in both ways, at each level; beside the study, which is compared by its own way alone.
best=$work/study/runs/unet_dice_seed0
[ -d "$best" ] || best=$first
for selector in leaf top_down; do
    kept "$work/$selector.txt" maskwright evaluate "$best" --selector "$selector" --out "$work/$selector"
done
for one in study wishes; do
    kept "$work/$one.txt" maskwright compare "$work/$one" --select val
    once "$work/$one.html" maskwright report "$work/$one" --out "$work/$one.html"
done
once "$work/explained" maskwright explain "$best" --out "$work/explained"
