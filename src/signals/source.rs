//! Which provider, and what was asked of it.

use super::{
    ReadError, carbon_aware, eia, electricity_maps, energy_charts, entsoe, kpx, open_meteo, pointers, prometheus, uk,
    watttime,
};
use crate::core::signal::{Answer, Basis};

/// A provider, with what its answer can't be read without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Electricity Maps, API v3.
    ElectricityMaps,
    /// Energy-Charts of Fraunhofer ISE.
    EnergyCharts,
    /// The Carbon Intensity API of Great Britain.
    Uk,
    /// ENTSO-E's Transparency Platform.
    Entsoe(entsoe::Entsoe),
    /// The Korea Power Exchange.
    Kpx(kpx::Service),
    /// Open-Meteo.
    OpenMeteo(open_meteo::OpenMeteo),
    /// Prometheus.
    Prometheus(prometheus::Query),
    /// Any JSON.
    Json(pointers::Pointers),
    /// WattTime, API v3.
    WattTime,
    /// The US Energy Information Administration, API v2.
    Eia,
    /// The Carbon Aware SDK, in front of a source of this basis.
    CarbonAware(Basis),
}

impl Source {
    /// Reads all documents of what it answered: one, but for what ENTSO-E packs.
    ///
    /// # Errors
    /// One is not what it should be, or the provider says that it can't answer.
    pub fn read_all(&self, documents: &[impl AsRef<[u8]>]) -> Result<Answer, ReadError> {
        let documents: Vec<&[u8]> = documents.iter().map(AsRef::as_ref).collect();
        match (self, documents.as_slice()) {
            (_, [one]) => self.read(one),
            (Self::Entsoe(asked), several) => entsoe::read(several, asked),
            (_, several) => Err(ReadError::not_a("the answer", "one document", &several.len().to_string())),
        }
    }

    /// Reads what it answered.
    ///
    /// # Errors
    /// It is not what it should be, or the provider says that it can't answer.
    pub fn read(&self, bytes: &[u8]) -> Result<Answer, ReadError> {
        match self {
            Self::ElectricityMaps => electricity_maps::read(bytes),
            Self::EnergyCharts => energy_charts::read(bytes),
            Self::Uk => uk::read(bytes),
            Self::Entsoe(asked) => entsoe::read(&[bytes], asked),
            Self::Kpx(service) => kpx::read(bytes, *service),
            Self::OpenMeteo(asked) => open_meteo::read(bytes, asked),
            Self::Prometheus(asked) => prometheus::read(bytes, asked),
            Self::Json(asked) => pointers::read(bytes, asked),
            Self::WattTime => watttime::read(bytes),
            Self::Eia => eia::read(bytes),
            Self::CarbonAware(basis) => carbon_aware::read(bytes, *basis),
        }
    }
}
