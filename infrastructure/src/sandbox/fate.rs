//! Chance that can be repeated: what happens to a send is drawn from (seed, phone number id, callback datum and how often
//! it was seen), so the same calls in the same order meet the same fates, whatever the timing.
//!
//! The generator is SplitMix64, written out, because a library's small generators may change between versions and a
//! seed in somebody's test must not.

/// A stable 64-bit hash (FNV-1a with a final mix), for keys of tables and for seeds; never for anything secret.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in *part {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        state = (state ^ part.len() as u64).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(state)
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A sequence of draws.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    state: u64,
}

impl Fate {
    pub(crate) fn new(seed: u64, parts: &[&[u8]]) -> Self {
        Self { state: mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ hash(parts) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in `rate` of the cases; each call draws once, whatever the rate, so that changing one rate does not shift
    /// the draws of the others.
    pub(crate) fn happens(&mut self, rate: f64) -> bool {
        self.unit() < rate
    }

    /// A number in `min..=max`.
    pub(crate) fn between(&mut self, min: u64, max: u64) -> u64 {
        let drawn = self.next();
        if max <= min { min } else { min + drawn % (max - min + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_key_draw_the_same() {
        let draw = |seed| {
            let mut fate = Fate::new(seed, &[b"number", b"wg1.x.1"]);
            [fate.next(), fate.next(), fate.between(5, 9)]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_rate_is_met_over_many_keys() {
        let hits = (0..100_000_u32)
            .filter(|n| Fate::new(1, &[b"number", &n.to_le_bytes()]).happens(0.01))
            .count();
        assert!((850..1150).contains(&hits), "{hits}");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }
}
