#!/bin/sh
# Boxes become masks in rounds, judged by a few masks that are drawn with care: ./run.sh [small|cpu|full] [WORK] [DATA]
# DATA: a dataset with masks (their boxes are then what is known), or one with boxes alone.
. "$(dirname "$0")/../common.sh"
trusted=200
case $size in
    small)
        trusted=12
        set -- --set "run.data.image_size=[64,64]" --set run.train.iterations=10 --set rounds=1 \
            --set "run.model={name: UNet, args: {channels: [4, 8], bottleneck: 8}}"
        ;;
    cpu)
        trusted=50
        set -- --set "run.data.image_size=[96,96]" --set run.train.iterations=150 --set run.train.batch_size=8 \
            --set run.optimizer.lr=1.0e-3 --set run.optimizer.head_lr_mult=3 \
            --set "run.model={name: AttentionUNet, encoder: tu-tf_efficientnet_lite0, weights: imagenet,
                args: {decoder_channels: [64, 48, 32, 24, 16], depth: 1}}"
        ;;
    full) set -- ;;
esac

if [ -n "$data" ]; then
    once "$work/data/dataset.yaml" maskwright init "$data" --out "$work/data"
else
    once "$work/data" maskwright demo --only-data --planted 0 --images 100 --size 128 --out "$work/data"
fi
cp "$here"/*.yaml "$work/"

if grep -q '^boxes:' "$work/data/dataset.yaml"; then # boxes alone: nothing can be judged
    run maskwright refine "$work/boxes.yaml" "$@" --out "$work/rounds"
    kept "$work/next.txt" maskwright next "$work/data" -n 20
    exit 0
fi

# Of the masks only their boxes are kept, but for the trusted ones.
once "$work/boxes" maskwright convert "$work/data" "$work/boxes" --to yolo
once "$work/poor" maskwright convert "$work/boxes" "$work/poor" --to index
once "$work/trusted" maskwright split "$work/data" --keep --trusted $trusted --out "$work/trusted"
run maskwright refine "$work/refine.yaml" "$@" --out "$work/rounds"

# Each round on the test images with their right masks: where further rounds hurt. Recall stands beside what predicting
# everything would reach.
for round in trusted poor H1 H2 H3; do
    one=$work/rounds/$round
    [ ! -d "$one" ] || kept "$work/$round.txt" maskwright evaluate "$one" --data "$work/data"
done
kept "$work/table.txt" maskwright compare "$work/rounds" --split test
once "$work/report.html" maskwright report "$work/rounds" --out "$work/report.html"
