//! What `config.json` says of a checkpoint, whatever its family calls it.

use serde::Deserialize;

/// Families whose encoder is BERT's. They differ in names, and in where positions begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    /// Other names for everything, no token types.
    DistilBert,
    /// Also XLM-RoBERTa and CamemBERT, which are RoBERTa with another vocabulary.
    Roberta,
}

impl Family {
    /// The values of `model_type`.
    const WORDS: [(&'static str, Self); 5] = [
        ("bert", Self::Bert),
        ("distilbert", Self::DistilBert),
        ("roberta", Self::Roberta),
        ("xlm-roberta", Self::Roberta),
        ("camembert", Self::Roberta),
    ];

    fn of(model_type: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == model_type);
        found.map(|(_, family)| *family).ok_or_else(|| {
            let known: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
            format!("model_type is {model_type:?}; this engine runs {}", known.join(", "))
        })
    }
}

/// Read before everything else: the file of an unknown family lacks fields, and its name is the
/// better answer.
#[derive(Deserialize)]
struct Kind {
    #[serde(default = "bert")]
    model_type: String,
}

/// What the engine reads of `config.json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(default = "bert")]
    model_type: String,
    pub(super) vocab_size: usize,
    #[serde(alias = "dim")]
    pub(super) hidden_size: usize,
    #[serde(alias = "n_layers")]
    pub(super) num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    pub(super) num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    pub(super) intermediate_size: usize,
    #[serde(alias = "activation", default)]
    pub(super) hidden_act: HiddenAct,
    /// Rows of the table, which are not all usable.
    pub(super) max_position_embeddings: usize,
    type_vocab_size: Option<usize>,
    pad_token_id: Option<usize>,
    #[serde(default = "eps")]
    pub(super) layer_norm_eps: f32,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HiddenAct {
    #[default]
    Gelu,
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_approximate")]
    GeluNew,
    Relu,
}

fn bert() -> String {
    "bert".into()
}

fn absolute() -> String {
    "absolute".into()
}

fn eps() -> f32 {
    1e-12
}

impl Config {
    /// Reads the file; the error is a clause about it, with what to do.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let damaged =
            |error: serde_json::Error| format!("is not what a BERT model has ({error}); copy it again");
        let kind: Kind = serde_json::from_slice(bytes).map_err(damaged)?;
        Family::of(&kind.model_type).map_err(|reason| format!("names another family: {reason}"))?;
        let config: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        match config.unsupported() {
            Some(reason) => Err(format!("cannot be used: {reason}")),
            None => Ok(config),
        }
    }

    pub(super) fn family(&self) -> Family {
        Family::of(&self.model_type).expect("`parse` refuses the others")
    }

    /// Rows of the position table before that of the first token: RoBERTa counts from the id of
    /// its padding, and keeps the rows up to there for padding.
    pub(super) fn first_position(&self) -> usize {
        match self.family() {
            Family::Bert | Family::DistilBert => 0,
            Family::Roberta => self.pad_token_id.unwrap_or(1).saturating_add(1),
        }
    }

    /// Tokens of the longest input.
    pub(super) fn positions(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// Rows of the token type table, if the family has one.
    pub(super) fn token_types(&self) -> Option<usize> {
        match self.family() {
            Family::Bert | Family::Roberta => Some(self.type_vocab_size.unwrap_or(2)),
            Family::DistilBert => None,
        }
    }

    fn unsupported(&self) -> Option<String> {
        if self.position_embedding_type != "absolute" {
            return Some(format!(
                "position_embedding_type {:?} is not supported",
                self.position_embedding_type
            ));
        }
        let sizes = [
            self.hidden_size,
            self.num_attention_heads,
            self.intermediate_size,
            self.vocab_size,
            self.positions(),
        ];
        if sizes.contains(&0) {
            return Some("one of its sizes is zero".into());
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Some(
                "its sizes do not fit together: hidden_size must be a multiple of num_attention_heads".into(),
            );
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERT: &str = r#""vocab_size": 9, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 128, "hidden_act": "gelu", "max_position_embeddings": 16"#;

    #[track_caller]
    fn check(config: &str, first: usize, positions: usize, token_types: Option<usize>) {
        let config = Config::parse(format!("{{{config}}}").as_bytes()).expect("a config");
        assert_eq!(
            (config.first_position(), config.positions(), config.token_types()),
            (first, positions, token_types)
        );
        assert_eq!((config.hidden_size, config.intermediate_size), (64, 128));
    }

    #[test]
    fn families_differ_in_names_positions_and_token_types() {
        check(BERT, 0, 16, Some(2));
        check(&format!(r#"{BERT}, "model_type": "xlm-roberta", "type_vocab_size": 1"#), 2, 14, Some(1));
        check(
            &format!(r#"{BERT}, "model_type": "roberta", "type_vocab_size": 1, "pad_token_id": 3"#),
            4,
            12,
            Some(1),
        );
        let distil = r#""model_type": "distilbert", "vocab_size": 9, "dim": 64, "n_layers": 2, "n_heads": 2,
            "hidden_dim": 128, "activation": "gelu", "max_position_embeddings": 16, "pad_token_id": 0"#;
        check(distil, 0, 16, None);
    }

    #[track_caller]
    fn check_refused(config: &str, words: &[&str]) {
        let error = Config::parse(config.as_bytes()).expect_err("refused");
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn another_family_is_named_even_where_fields_are_missing() {
        check_refused(r#"{"model_type": "t5", "d_model": 64}"#, &["\"t5\"", "bert, distilbert, roberta"]);
    }

    #[test]
    fn what_cannot_be_computed_is_said() {
        check_refused("{", &["copy it again"]);
        check_refused(
            &format!(r#"{{{BERT}, "position_embedding_type": "relative_key"}}"#),
            &["relative_key"],
        );
        check_refused(
            &format!(r#"{{{BERT}, "model_type": "roberta", "pad_token_id": 15}}"#),
            &["one of its sizes"],
        );
    }
}
