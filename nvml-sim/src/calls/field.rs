//! Values by field id.

use super::{Asked, Code, Handle, code, get};
use crate::spec::Reading;
use nvml_wrapper_sys::bindings::field_id as id;

/// A value with its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field {
    /// Milliwatts, as a rule.
    Unsigned(u32),
    /// Millijoules, as a rule.
    Wide(u64),
    /// What only a fault shows.
    Signed(i64),
    /// What only a fault shows.
    Float(f64),
}

/// Scope of a power field: the GPU alone, without the module's CPU or memory.
const SCOPE_GPU: u32 = 0;

/// The values of fields of a GPU, all of one moment: each with its own answer.
pub(crate) fn fields(handle: Handle, ids: &[(u32, u32)]) -> Result<Vec<Result<Field, Code>>, Code> {
    get(handle, |asked| {
        handle.whole()?;
        Ok(ids.iter().map(|(id, scope)| field(asked, *id, *scope)).collect())
    })
}

fn field(asked: &Asked<'_>, id: u32, scope: u32) -> Result<Field, Code> {
    if scope != SCOPE_GPU {
        return Err(code::NOT_SUPPORTED);
    }
    let watts = |watts: u32| Field::Unsigned(watts * 1000);
    let milliwatts = |mw: u64| Field::Unsigned(u32::try_from(mw).unwrap_or(u32::MAX));
    let (reading, value) = match id {
        id::NVML_FI_DEV_POWER_INSTANT => (Reading::Power, Field::Unsigned(asked.power(false).round() as u32)),
        id::NVML_FI_DEV_POWER_AVERAGE => (Reading::Power, Field::Unsigned(asked.power(true).round() as u32)),
        id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION => (Reading::Energy, Field::Wide(asked.energy() as u64)),
        id::NVML_FI_DEV_POWER_CURRENT_LIMIT => (Reading::EnforcedLimit, milliwatts(asked.enforced())),
        id::NVML_FI_DEV_POWER_REQUESTED_LIMIT => return Ok(milliwatts(asked.told())),
        id::NVML_FI_DEV_POWER_MIN_LIMIT => return Ok(watts(asked.gpu().min_limit_watts)),
        id::NVML_FI_DEV_POWER_MAX_LIMIT => return Ok(watts(asked.gpu().max_limit_watts)),
        id::NVML_FI_DEV_POWER_DEFAULT_LIMIT => return Ok(watts(asked.gpu().default_limit_watts)),
        _ => return Err(code::NOT_SUPPORTED),
    };
    Ok(asked.absurd(reading)?.map_or(value, absurd))
}

/// A made-up number in the type that can carry it.
fn absurd(value: f64) -> Field {
    if value.is_nan() || value.fract() != 0.0 {
        Field::Float(value)
    } else if value < 0.0 {
        Field::Signed(value as i64)
    } else if value <= f64::from(u32::MAX) {
        Field::Unsigned(value as u32)
    } else {
        Field::Wide(value as u64)
    }
}
