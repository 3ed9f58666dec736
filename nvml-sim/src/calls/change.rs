//! Calls that change something.

use super::{Code, Handle, code, set};

/// Sets the power limit, in milliwatts.
pub(crate) fn set_limit(handle: Handle, milliwatts: u32) -> Result<(), Code> {
    set(handle, |spec, state, gpu, applied| {
        let (figures, state) = (&spec.gpus[gpu], &mut state.gpus[gpu]);
        let range = u64::from(figures.min_limit_watts) * 1000..=u64::from(figures.max_limit_watts) * 1000;
        let milliwatts = u64::from(milliwatts);
        if !range.contains(&milliwatts) {
            return Err(code::INVALID_ARGUMENT);
        }
        state.told_mw = milliwatts;
        if applied {
            state.set_mw = milliwatts;
        }
        Ok(())
    })
}

/// Locks the SM clock, in MHz. Clocks out of the range are its nearest end, as on real devices.
pub(crate) fn lock_clocks(handle: Handle, low: u32, high: u32) -> Result<(), Code> {
    set(handle, |spec, state, gpu, applied| {
        if low > high || high == 0 {
            return Err(code::INVALID_ARGUMENT);
        }
        let (figures, state) = (&spec.gpus[gpu], &mut state.gpus[gpu]);
        if applied {
            let clamp = |mhz: u32| mhz.clamp(figures.min_clock_mhz, figures.max_clock_mhz);
            state.locked_mhz = (clamp(low), clamp(high));
        }
        Ok(())
    })
}

/// Takes the lock off the SM clock.
pub(crate) fn unlock_clocks(handle: Handle) -> Result<(), Code> {
    set(handle, |_, state, gpu, applied| {
        if applied {
            state.gpus[gpu].locked_mhz = (0, 0);
        }
        Ok(())
    })
}

/// Sets persistence mode.
pub(crate) fn set_persistence(handle: Handle, on: bool) -> Result<(), Code> {
    set(handle, |_, state, gpu, applied| {
        if applied {
            state.gpus[gpu].persistence = on;
        }
        Ok(())
    })
}
