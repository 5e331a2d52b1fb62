//! The figures, as trec_eval defines them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::EvalReport;

/// Sums over queries.
#[derive(Debug, Default)]
pub(super) struct Scores {
    ndcg: f64,
    reciprocal: f64,
    n_hit: usize,
    recall: f64,
    times: Vec<Duration>,
}

impl Scores {
    /// Adds a query by the grades of what was found, best first, and returns its nDCG@10.
    pub(super) fn add(&mut self, found: &[u32], grades: &BTreeMap<String, u32>, took: Duration) -> f64 {
        let mut ideal: Vec<u32> = grades.values().copied().collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        let ndcg = discounted(found) / discounted(&ideal);
        self.ndcg += ndcg;
        let first = found.iter().take(10).position(|grade| *grade > 0);
        self.reciprocal += first.map_or(0.0, |position| 1.0 / (position + 1) as f64);
        self.n_hit += usize::from(first.is_some());
        let n_relevant = ideal.iter().filter(|grade| **grade > 0).count();
        let n_found = found.iter().take(100).filter(|grade| **grade > 0).count();
        self.recall += n_found as f64 / n_relevant as f64;
        self.times.push(took);
        ndcg
    }

    pub(super) fn report(mut self, docs: usize) -> EvalReport {
        let queries = self.times.len();
        let mean = |sum: f64| sum / queries.max(1) as f64;
        self.times.sort_unstable();
        let p50 = self.times.get(queries / 2).copied().unwrap_or_default();
        EvalReport {
            ndcg_at_10: mean(self.ndcg),
            mrr_at_10: mean(self.reciprocal),
            hit_at_10: mean(self.n_hit as f64),
            recall_at_100: mean(self.recall),
            queries,
            docs,
            p50_ms: p50.as_secs_f64() * 1e3,
        }
    }
}

fn discounted(grades: &[u32]) -> f64 {
    let gain = |(position, grade): (usize, &u32)| f64::from(*grade) / (position as f64 + 2.0).log2();
    grades.iter().take(10).enumerate().map(gain).sum()
}

/// Spearman's rank correlation; ties get the average of their ranks. 0 when one side is constant.
pub(super) fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let sum = |products: &mut dyn Iterator<Item = f64>| products.sum::<f64>();
    let covariance = sum(&mut a.iter().zip(&b).map(|(a, b)| (a - mean) * (b - mean)));
    let spread = |ranks: &[f64]| sum(&mut ranks.iter().map(|rank| (rank - mean).powi(2)));
    let scale = (spread(&a) * spread(&b)).sqrt();
    if scale > 0.0 { covariance / scale } else { 0.0 }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let before = order.partition_point(|at| values[*at] < values[tied[0]]);
        let average = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|at| ranks[*at] = average);
    }
    ranks
}
