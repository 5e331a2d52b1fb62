//! How exactly a model computes.
//!
//! A precision is part of the space: vectors of two precisions are close but not equal, and an
//! index holds one of them.

use std::fmt;
use std::str::FromStr;

/// `EMBEDDING_PRECISION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// `Exact` where the processor has instructions for it, else `F32`.
    #[default]
    Auto,
    /// Single precision throughout.
    F32,
    /// bfloat16 products, single-precision sums.
    Exact,
    /// 8-bit integer products, but for the layer that suffers most, which is as in `Exact`.
    Fast,
    /// 8-bit integer products throughout.
    Max,
}

impl Precision {
    /// Every precision, in the order in which they are listed to people.
    pub const ALL: [Self; 5] = [Self::Auto, Self::F32, Self::Exact, Self::Fast, Self::Max];

    /// The value of the setting, and for all but `auto` the word in the space.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Exact => "exact",
            Self::Fast => "fast",
            Self::Max => "max",
        }
    }

    /// The precision to compute with where this processor and this model allow `available`.
    /// What was asked for by name is never replaced by another: that would be another space.
    pub fn resolve(self, available: &[Self]) -> Result<Self, String> {
        match self {
            Self::Auto if available.contains(&Self::Exact) => Ok(Self::Exact),
            Self::Auto => Ok(Self::F32),
            named if available.contains(&named) => Ok(named),
            named => Err(format!(
                "EMBEDDING_PRECISION={named} is not possible with this processor and this model; \
                 possible are auto, {}",
                words(available)
            )),
        }
    }
}

fn words(precisions: &[Precision]) -> String {
    precisions.iter().map(|precision| precision.word()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.trim();
        Self::ALL.into_iter().find(|precision| precision.word().eq_ignore_ascii_case(wanted)).ok_or_else(
            || {
                let shown: String = wanted.chars().take(40).collect();
                format!("{shown:?} is no precision; there are {}", words(&Self::ALL))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_is_written_as_it_is_read() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert_eq!(" Exact ".parse(), Ok(Precision::Exact));
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = "bf16".parse::<Precision>().expect_err("not a precision");
        for precision in Precision::ALL {
            assert!(error.contains(precision.word()), "{error}");
        }
    }

    #[track_caller]
    fn check(wanted: Precision, available: &[Precision], expected: Result<Precision, &str>) {
        match (wanted.resolve(available), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(words)) => assert!(error.contains(words), "{error}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn auto_is_exact_where_that_exists_and_a_named_precision_is_never_replaced() {
        use Precision::{Auto, Exact, F32, Fast, Max};
        check(Auto, &[F32], Ok(F32));
        check(Auto, &[F32, Fast, Max], Ok(F32));
        check(Auto, &[F32, Exact, Fast, Max], Ok(Exact));
        check(Fast, &[F32, Exact, Fast, Max], Ok(Fast));
        check(Max, &[F32, Exact], Err("EMBEDDING_PRECISION=max"));
        check(Exact, &[F32], Err("possible are auto, f32"));
    }
}
