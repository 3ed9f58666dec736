//! NVIDIA's devices, through NVML.

use super::device::{Category, Device, DeviceError, Devices, Draw, DrawKind, Identity, Listing, Range, Throttle};
use crate::units::Watts;
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::enums::device::{GpuLockedClocksSetting, SampleValue};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_POWER_INSTANT;
use std::path::Path;

/// NVML, loaded and initialised, until the process ends.
#[derive(Debug, Clone, Copy)]
pub struct Library(&'static Nvml);

impl Library {
    /// Loads the library: from `path`, or from where the loader finds `libnvidia-ml.so.1`.
    ///
    /// # Errors
    /// When it isn't there, or there is no driver behind it.
    pub fn load(path: Option<&Path>) -> Result<Self, DeviceError> {
        let mut builder = Nvml::builder();
        if let Some(path) = path {
            builder.lib_path(path.as_os_str());
        }
        let nvml = builder.init().map_err(of("loading NVML"))?;
        // Leaked on purpose, once: a thread that hangs in the library must never see it unloaded.
        Ok(Self(Box::leak(Box::new(nvml))))
    }

    fn identity(self, index: u32) -> Result<Identity, DeviceError> {
        let device = self.0.device_by_index(index).map_err(of("opening it"))?;
        let uuid = device.uuid().map_err(of("reading its UUID"))?;
        let model = device.name().map_err(of("reading its model"))?;
        // a device that knows no slices says NotSupported, NotFound or InvalidArg: it has none
        let most = device.mig_device_count().unwrap_or(0);
        let slices = (0..most).filter_map(|at| device.mig_device_by_index(at).ok()?.uuid().ok()).collect();
        Ok(Identity { uuid, index, model, slices })
    }
}

impl Devices for Library {
    fn list(&self) -> Result<Listing, DeviceError> {
        let mut listing = Listing::default();
        for index in 0..self.0.device_count().map_err(of("counting devices"))? {
            match self.identity(index) {
                Ok(identity) => listing.devices.push(identity),
                Err(error) => listing.unreadable.push((index, error)),
            }
        }
        Ok(listing)
    }

    fn open(&self, uuid: &str) -> Result<Box<dyn Device>, DeviceError> {
        let device = self.0.device_by_uuid(uuid).map_err(of("opening it"))?;
        Ok(Box::new(Gpu { device, instant: true }))
    }
}

/// One GPU.
struct Gpu {
    device: nvml_wrapper::Device<'static>,
    /// It has not said yet that it does not know the draw of the instant.
    instant: bool,
}

impl Gpu {
    /// The draw at this instant, in mW; `None` where the device does not know it.
    fn instant(&mut self) -> Result<Option<u64>, NvmlError> {
        if !self.instant {
            return Ok(None);
        }
        let sample = match self.device.field_values_for(&[FieldId(NVML_FI_DEV_POWER_INSTANT)]) {
            Ok(mut samples) => samples.pop().unwrap_or(Err(NvmlError::NoData)).and_then(|sample| sample.value),
            Err(error) => Err(error),
        };
        match sample {
            Ok(SampleValue::U32(milliwatts)) => Ok(Some(u64::from(milliwatts))),
            Ok(SampleValue::U64(milliwatts)) => Ok(Some(milliwatts)),
            // NVML has it unsigned; were it ever not, what is not a positive number is judged as zero is
            Ok(SampleValue::I64(milliwatts)) => Ok(Some(u64::try_from(milliwatts).unwrap_or(0))),
            Ok(SampleValue::F64(_)) => Ok(Some(0)),
            Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) | NvmlError::InvalidArg) => {
                self.instant = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Device for Gpu {
    fn range(&mut self) -> Result<Range, DeviceError> {
        let doing = "reading its range";
        let limits = self.device.power_management_limit_constraints().map_err(of(doing))?;
        let default = self.device.power_management_limit_default().map_err(of(doing))?;
        Ok(Range {
            min_watts: up(limits.min_limit),
            max_watts: Watts(i64::from(limits.max_limit / 1000)),
            default_watts: up(default),
        })
    }

    fn set_watts(&mut self) -> Result<Watts, DeviceError> {
        self.device.power_management_limit().map(up).map_err(of("reading the limit set on it"))
    }

    fn enforced_watts(&mut self) -> Result<Watts, DeviceError> {
        self.device.enforced_power_limit().map(up).map_err(of("reading the limit in force"))
    }

    fn draw(&mut self) -> Result<Draw, DeviceError> {
        let doing = "reading its draw";
        if let Some(milliwatts) = self.instant().map_err(of(doing))? {
            return Ok(Draw { milliwatts, kind: DrawKind::Instant });
        }
        let milliwatts = u64::from(self.device.power_usage().map_err(of(doing))?);
        Ok(Draw { milliwatts, kind: DrawKind::Average })
    }

    fn energy_millijoules(&mut self) -> Result<u64, DeviceError> {
        self.device.total_energy_consumption().map_err(of("reading its energy counter"))
    }

    fn clock_megahertz(&mut self) -> Result<u32, DeviceError> {
        self.device.clock_info(Clock::Graphics).map_err(of("reading its clock"))
    }

    fn throttling(&mut self) -> Result<Vec<Throttle>, DeviceError> {
        let bits = self.device.current_throttle_reasons().map_err(of("reading why it throttles"))?;
        Ok(THROTTLES.iter().filter(|(bit, _)| bits.contains(*bit)).map(|(_, reason)| *reason).collect())
    }

    fn set_limit(&mut self, limit: Watts) -> Result<(), DeviceError> {
        let doing = "setting its limit";
        let milliwatts = limit.0.checked_mul(1000).and_then(|milliwatts| u32::try_from(milliwatts).ok());
        let milliwatts = milliwatts.ok_or_else(|| DeviceError {
            category: Category::OutOfRange,
            doing,
            message: format!("{limit} is not a number of milliwatts that NVML takes"),
        })?;
        self.device.set_power_management_limit(milliwatts).map_err(of(doing))
    }

    fn lock_clock(&mut self, megahertz: u32) -> Result<(), DeviceError> {
        // from 0: it may still go down to idle
        let setting = GpuLockedClocksSetting::Numeric { min_clock_mhz: 0, max_clock_mhz: megahertz };
        self.device.set_gpu_locked_clocks(setting).map_err(of("locking its clock"))
    }

    fn reset_clock(&mut self) -> Result<(), DeviceError> {
        self.device.reset_gpu_locked_clocks().map_err(of("letting its clock go"))
    }
}

/// NVML's reasons and ours.
const THROTTLES: [(ThrottleReasons, Throttle); 9] = [
    (ThrottleReasons::GPU_IDLE, Throttle::Idle),
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, Throttle::ClocksSet),
    (ThrottleReasons::SW_POWER_CAP, Throttle::PowerLimit),
    (ThrottleReasons::HW_SLOWDOWN, Throttle::HardwareSlowdown),
    (ThrottleReasons::SYNC_BOOST, Throttle::SyncBoost),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, Throttle::Thermal),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, Throttle::HardwareThermal),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, Throttle::PowerBrake),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, Throttle::Display),
];

/// Milliwatts as watts, rounded up: a limit in force is never understated.
fn up(milliwatts: u32) -> Watts {
    Watts(i64::from(milliwatts.div_ceil(1000)))
}

/// NVML's error, said of what was being done.
fn of(doing: &'static str) -> impl Fn(NvmlError) -> DeviceError {
    move |error| DeviceError { category: category(&error), doing, message: error.to_string() }
}

/// Every error of NVML has its kind; a new one must be thought about here.
fn category(error: &NvmlError) -> Category {
    #[expect(deprecated, reason = "NVML still has the code")]
    match error {
        NvmlError::NoPermission | NvmlError::OperatingSystem => Category::NoPermission,
        NvmlError::GpuLost | NvmlError::ResetRequired | NvmlError::NotFound | NvmlError::IrqIssue => Category::Lost,
        NvmlError::InvalidArg => Category::OutOfRange,
        NvmlError::NotSupported
        | NvmlError::FunctionNotFound
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::VgpuEccNotSupported => Category::NotSupported,
        NvmlError::Timeout => Category::TimedOut,
        NvmlError::IncorrectBits(_) | NvmlError::UnexpectedVariant(_) | NvmlError::Utf8Error(_) => Category::Absurd,
        NvmlError::NulError(_)
        | NvmlError::LibloadingError(_)
        | NvmlError::StringTooLong { .. }
        | NvmlError::SetReleaseFailed
        | NvmlError::GetPciInfoFailed
        | NvmlError::PciInfoToCFailed
        | NvmlError::Uninitialized
        | NvmlError::AlreadyInitialized
        | NvmlError::InsufficientSize(_)
        | NvmlError::InsufficientPower
        | NvmlError::DriverNotLoaded
        | NvmlError::LibraryNotFound
        | NvmlError::CorruptedInfoROM
        | NvmlError::LibRmVersionMismatch
        | NvmlError::InUse
        | NvmlError::InsufficientMemory
        | NvmlError::NoData
        | NvmlError::Unknown => Category::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_rounded_to_the_safe_side() {
        assert_eq!([up(0), up(1), up(350_000), up(350_001)], [Watts(0), Watts(1), Watts(350), Watts(351)]);
    }

    #[test]
    fn a_library_that_is_not_there_is_told() {
        let error = Library::load(Some(Path::new("/nowhere/libnvidia-ml.so.1"))).unwrap_err();
        assert_eq!(error.category, Category::Other);
        assert!(error.to_string().contains("/nowhere/libnvidia-ml.so.1"), "{error}");
    }
}
