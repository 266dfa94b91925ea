"""Fashion-MNIST, the article's dataset."""

from __future__ import annotations

from gradclip_cli.config.dataset import DebianPackage, File, Part, PublishedDataset

DATASET = PublishedDataset(
    title="Fashion-MNIST",
    subject="clothes",
    source="Xiao, Rasul and Vollgraf 2017",
    licence="MIT licence",
    side=28,
    class_sizes=(6_000,) * 10,
    full=Part(
        training=60_000,
        test=10_000,
        files={
            "train-images-idx3-ubyte": File(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            "train-labels-idx1-ubyte": File(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            "t10k-images-idx3-ubyte": File(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            "t10k-labels-idx1-ubyte": File(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        },
    ),
    sample=Part(
        training=5_000,
        test=1_000,
        files={
            "train-images-idx3-ubyte": File(3_920_016, "626b8bf8433327de7912bae1d0e4c70fdcca53de33970297bf9a2205500c574a"),
            "train-labels-idx1-ubyte": File(5_008, "86cccad95ab36653e416733235fc8fbb50b9429417f4eb2feb35e0b9a294e83c"),
            "t10k-images-idx3-ubyte": File(784_016, "7a6d8e07ea021ec5bc73135ebd0a5770799557ec6f8242d8749c4f32a3cf4643"),
            "t10k-labels-idx1-ubyte": File(1_008, "b40abac7ec8228f434940f579deb7cf7b6e3103b5274cb91d1545771f5ef1c8b"),
        },
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    keras_folder="fashion-mnist",
    debian_package=DebianPackage(name="dataset-fashion-mnist", folder="usr/share/datasets/fashion-mnist"),
)
