"""Operations of torch's ATen library, by what they can do with weights and images."""

from __future__ import annotations

MATRIX = {
    "mm": (0, 1), "bmm": (0, 1), "mv": (0, 1), "dot": (0, 1), "vdot": (0, 1),
    "addmm": (1, 2), "addbmm": (1, 2), "baddbmm": (1, 2), "addmv": (1, 2), "addr": (1, 2),
    "_addmm_activation": (1, 2), "_trilinear": (0, 1, 2),
}  # fmt: skip
"""Products of matrices, with the places of their factors among the arguments."""

CONVOLUTIONS = {"convolution", "_convolution", "mkldnn_convolution"}

NORMS = {
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update", "_batch_norm_no_update", "cudnn_batch_norm", "miopen_batch_norm",
    "native_group_norm", "native_layer_norm", "_fused_rms_norm",
}  # fmt: skip

POOLS = {
    "max_pool2d", "max_pool2d_with_indices", "mkldnn_max_pool2d", "avg_pool2d", "avg_pool3d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "max_pool3d_with_indices", "fractional_max_pool2d",
}  # fmt: skip

SUMS = {
    "sum", "mean", "nansum", "cumsum", "logsumexp", "linalg_vector_norm", "norm", "var", "std",
    "prod", "cumprod", "logcumsumexp",
}  # fmt: skip
PLAIN_SUMS = {"sum", "mean", "nansum", "cumsum"}
EXTREMES = {"amax", "amin", "max", "min", "var_mean", "std_mean", "median", "mode", "any", "all"}

SUMS_BY_INDEX = {"index_add", "scatter_add", "scatter_reduce", "index_reduce", "segment_reduce"}

AVERAGES = {"avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"}

SHAPES_ONLY = {
    "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like",
    "randint_like", "new_empty", "new_zeros", "new_ones", "new_full", "new_empty_strided",
}  # fmt: skip
"""What makes new values and takes from its argument no more than a shape."""

MOVEMENTS = {
    "_unsafe_view", "_reshape_copy", "_to_copy", "cat", "stack", "repeat", "clone", "contiguous",
    "constant_pad_nd", "flip", "roll", "index_select", "index", "gather", "take",
    "copy", "slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter",
    "index_put", "_index_put_impl", "index_copy", "scatter", "masked_scatter", "masked_fill",
    "tril", "triu", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "im2col",
    "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", "rot90",
    "upsample_nearest1d", "upsample_nearest2d", "_upsample_nearest_exact2d", "repeat_interleave",
    "take_along_dim",
    "native_channel_shuffle", "split_with_sizes_copy", "view_copy", "expand_copy",
}  # fmt: skip
"""What moves values about and computes nothing with them; views are movements as well."""

LOOKUPS = {"index", "index_select", "gather", "take", "take_along_dim"}
"""Movements whose second tensor says where to look."""

INTERPOLATIONS = {
    "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
}  # fmt: skip
"""What adds up neighbours, weighed by their distance."""

WORDS = {
    "linear", "bilinear", "scaled_dot_product_attention", "multi_head_attention_forward",
}  # fmt: skip
"""Torch's own functions whose weights, where they see one place at a time, are a fully connected
layer by name: nothing computed tells it from a 1x1 convolution."""

POINTWISE = {
    "_prelu_kernel", "native_dropout", "glu", "_softmax", "_log_softmax", "complex", "polar",
}  # fmt: skip
"""Pointwise operations, or as good as, that torch does not tag as such."""

ESCAPES = {"numpy", "tolist", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage"}
"""Methods of a tensor that hand its values to code outside torch."""
