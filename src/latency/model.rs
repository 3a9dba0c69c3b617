//! Models, with the shapes in their public configurations.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Tokens};

/// A dense decoder model in bf16.
///
/// Shapes are those of `config.json` on the Hugging Face hub (`num_hidden_layers`,
/// `num_attention_heads`, `num_key_value_heads`, head size, `max_position_embeddings`); parameters
/// are the count of its safetensors files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum ModelPreset {
    /// `Qwen/Qwen2.5-0.5B-Instruct`
    #[serde(rename = "qwen2.5-0.5b")]
    #[value(name = "qwen2.5-0.5b")]
    Qwen25_0_5B,
    /// `meta-llama/Llama-3.2-1B-Instruct`
    #[serde(rename = "llama-3.2-1b")]
    #[value(name = "llama-3.2-1b")]
    Llama32_1B,
    /// `Qwen/Qwen2.5-7B-Instruct`
    #[serde(rename = "qwen2.5-7b")]
    #[value(name = "qwen2.5-7b")]
    Qwen25_7B,
    /// `mistralai/Mistral-7B-Instruct-v0.3`
    #[serde(rename = "mistral-7b")]
    #[value(name = "mistral-7b")]
    Mistral7B,
    /// `meta-llama/Llama-3.1-8B-Instruct`
    #[serde(rename = "llama-3.1-8b")]
    #[value(name = "llama-3.1-8b")]
    Llama31_8B,
    /// `Qwen/Qwen2.5-32B-Instruct`
    #[serde(rename = "qwen2.5-32b")]
    #[value(name = "qwen2.5-32b")]
    Qwen25_32B,
    /// `meta-llama/Llama-3.1-70B-Instruct`
    #[serde(rename = "llama-3.1-70b")]
    #[value(name = "llama-3.1-70b")]
    Llama31_70B,
}

/// The figures of a model.
struct Shape {
    parameters: u64,
    layers: u64,
    heads: u64,
    kv_heads: u64,
    head_size: u64,
    max_model_len: u32,
}

/// Bytes of a bf16 number.
const BF16: u64 = 2;

impl ModelPreset {
    const fn shape(self) -> Shape {
        let (parameters, layers, heads, kv_heads, head_size, max_model_len) = match self {
            Self::Qwen25_0_5B => (494_032_768, 24, 14, 2, 64, 32_768),
            Self::Llama32_1B => (1_235_814_400, 16, 32, 8, 64, 131_072),
            Self::Qwen25_7B => (7_615_616_512, 28, 28, 4, 128, 32_768),
            Self::Mistral7B => (7_248_023_552, 32, 32, 8, 128, 32_768),
            Self::Llama31_8B => (8_030_261_248, 32, 32, 8, 128, 131_072),
            Self::Qwen25_32B => (32_763_876_352, 64, 40, 8, 128, 32_768),
            Self::Llama31_70B => (70_553_706_496, 80, 64, 8, 128, 131_072),
        };
        Shape { parameters, layers, heads, kv_heads, head_size, max_model_len }
    }

    /// The number of weights.
    #[must_use]
    pub const fn parameters(self) -> u64 {
        self.shape().parameters
    }

    /// The size of the weights.
    #[must_use]
    pub const fn weight_bytes(self) -> Bytes {
        Bytes(self.shape().parameters * BF16)
    }

    /// The KV cache of one token: a key and a value per layer and KV head.
    #[must_use]
    pub const fn kv_bytes_per_token(self) -> Bytes {
        let shape = self.shape();
        Bytes(2 * shape.layers * shape.kv_heads * shape.head_size * BF16)
    }

    /// The KV cache of a block of tokens.
    #[must_use]
    pub const fn kv_bytes_per_block(self, block_size: u32) -> Bytes {
        Bytes(self.kv_bytes_per_token().0 * block_size as u64)
    }

    /// The longest sequence that the model is made for.
    #[must_use]
    pub const fn max_model_len(self) -> Tokens {
        Tokens(self.shape().max_model_len)
    }

    /// Floating-point operations per token outside attention: a multiplication and an addition
    /// per weight.
    #[must_use]
    pub const fn flops_per_token(self) -> u64 {
        2 * self.shape().parameters
    }

    /// Floating-point operations for one token to attend to another: the score and the weighted
    /// value, per layer and head.
    #[must_use]
    pub const fn flops_per_attention_pair(self) -> u64 {
        let shape = self.shape();
        4 * shape.layers * shape.heads * shape.head_size
    }
}
