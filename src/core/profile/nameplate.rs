//! What devices draw at most by their makers' data sheets: for those that have no profile.

use crate::units::Watts;

/// Model, as node labels begin with it, and board power in watts. Source: the makers' product briefs and data sheets.
const NAMEPLATES: &[(&str, i64)] = &[
    ("NVIDIA-GB200", 1200),
    ("NVIDIA-B200", 1000),
    ("NVIDIA-H200-NVL", 600),
    ("NVIDIA-H200", 700),
    ("NVIDIA-H100-PCIe", 350),
    ("NVIDIA-H100-NVL", 400),
    ("NVIDIA-H100", 700),
    ("NVIDIA-A100-SXM4", 400),
    ("NVIDIA-A100-PCIE-40GB", 250),
    ("NVIDIA-A100", 400),
    ("NVIDIA-A40", 300),
    ("NVIDIA-A10", 150),
    ("NVIDIA-L40S", 350),
    ("NVIDIA-L40", 300),
    ("NVIDIA-L4", 72),
    ("Tesla-V100", 300),
    ("Tesla-P100-PCIE", 250),
    ("Tesla-P100", 300),
    ("Tesla-T4", 70),
    ("Quadro-RTX-6000", 260),
];

/// What a device of an unknown model is charged with where it runs already: the most that any part on the market takes
/// (NVIDIA GB300, 1,400 W). Nothing new is placed on it.
pub const UNKNOWN: Watts = Watts(1400);

/// The board power of a model; the first entry that its name begins with.
#[must_use]
pub fn nameplate(model: &str) -> Option<Watts> {
    let entry = NAMEPLATES.iter().find(|(name, _)| model.starts_with(name));
    entry.map(|(_, watts)| Watts(*watts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_name_is_not_taken_for_a_shorter_one() {
        assert_eq!(nameplate("NVIDIA-H100-80GB-HBM3"), Some(Watts(700)));
        assert_eq!(nameplate("NVIDIA-H100-PCIe"), Some(Watts(350)));
        assert_eq!(nameplate("NVIDIA-L40S"), Some(Watts(350)));
        assert_eq!(nameplate("NVIDIA-L4"), Some(Watts(72)));
        assert_eq!(nameplate("Abacus"), None);
        for (i, (name, _)) in NAMEPLATES.iter().enumerate() {
            assert!(NAMEPLATES[..i].iter().all(|(earlier, _)| !name.starts_with(earlier)), "{name} is never reached");
        }
    }
}
