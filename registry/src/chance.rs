//! Random numbers that a registry draws: ids and keys. Drawn by the simulation in a simulated node.

use rand::distr::{Distribution, StandardUniform};

/// A random value.
pub(crate) fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    #[cfg(feature = "simulation")]
    if let Some(drawn) = crate::simulation::random() {
        return drawn;
    }
    rand::random()
}
