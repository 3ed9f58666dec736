//! Operating points of work in a cluster: the limits that a plan may hold it to, and how fast it is under each. Objects in, values out.
//!
//! A point is a limit that leases keep, so a workload has points only where leases are. It is the most that its accelerators may have:
//! what is divided among them is never more, and may be less.

use super::leased::DomainLeases;
use super::site::{self, Site};
use super::snapshot::Snapshot;
use super::status::time;
use super::world::{Item, load_at};
use crate::api::{AcceleratorProfile, Grant, LLMWorkloadSpec, Slowed, WorkloadClass};
use crate::core::plan::{Load, Pace, PoolChoice, PoolId};
use crate::core::profile::{Flaw, Profile};
use crate::units::{Moment, Seconds, Watts};

/// A limit for each accelerator, with what it means for its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The limit.
    pub limit: Watts,
    /// How fast the work is under it.
    pub pace: Pace,
    /// What an accelerator draws under it at worst, above its idle draw.
    pub watts: Watts,
}

/// A kind of work on a model, with all profiles there are.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    /// All profiles.
    pub profiles: &'a [AcceleratorProfile],
    /// The model of the accelerators.
    pub model: &'a str,
    /// The class of the work.
    pub class: WorkloadClass,
    /// The profile that it names.
    pub named: Option<&'a str>,
}

impl Kind<'_> {
    /// Its profile, where that says how fast it is under limits. One point is no curve.
    fn profile(&self) -> Option<Profile> {
        let profile = site::profile(self.profiles, self.model, self.class, self.named)?;
        let is_one = profile.flaws().iter().any(|flaw| matches!(flaw, Flaw::OnePoint { .. }));
        (!is_one).then_some(profile)
    }

    /// The points below full that it may be held to, the fastest first: none where its curve is not known. No point is slower than it
    /// tolerates (in thousandths), below the knee, where a unit of work takes more energy, or below what a device can be set to.
    #[must_use]
    pub fn slower(&self, tolerates_permille: u32) -> Vec<Point> {
        if tolerates_permille == 0 {
            return Vec::new();
        }
        let Some(profile) = self.profile() else { return Vec::new() };
        let curve = profile.curve();
        let Some(most) = curve.limits().last() else { return Vec::new() };
        // rounded up: no slower than what is tolerated
        let least = (curve.at(most) * 1000_u32.saturating_sub(tolerates_permille)).div_ceil(1000);
        let device = site::device(self.profiles, self.model);
        let lowest = curve.lowest_for(least).max(profile.knee(Watts::ZERO).limit).max(device.min);
        let mut limits: Vec<Watts> = curve.limits().filter(|limit| *limit > lowest).chain([lowest]).collect();
        limits.sort_unstable_by_key(|limit| std::cmp::Reverse(*limit));
        limits.dedup();
        let points = limits.into_iter().filter(|limit| *limit < most).filter_map(|limit| self.point(&profile, limit));
        points.filter(|point| !point.pace.is_full()).collect()
    }

    /// The point of a limit that it is held to; none where nothing tells how fast it is there.
    #[must_use]
    pub fn at(&self, limit: Watts) -> Option<Point> {
        self.point(&self.profile()?, limit)
    }

    fn point(&self, profile: &Profile, limit: Watts) -> Option<Point> {
        let curve = profile.curve();
        let most = u64::from(curve.at(curve.limits().last()?)).max(1);
        let pace = u64::from(curve.at(limit)) * u64::from(Pace::FULL.per_million()) / most;
        let drawn = limit.plus_permille(profile.overshoot_permille()).min(profile.worst_draw());
        Some(Point {
            limit,
            pace: Pace::millionths(u32::try_from(pace).ok()?)?,
            watts: (drawn - site::device_idle(self.profiles, self.model)).max(Watts::ZERO),
        })
    }
}

/// What a run lost up to a moment by being held below full, in seconds at full. `pace` is what it is held to now.
fn lost_in(slowed: &Slowed, pace: Pace, now: Moment) -> Seconds {
    let before = Seconds(slowed.lost_seconds.max(0));
    let since = slowed.since.as_ref().map_or(now, |since| Moment(since.0.as_second()));
    let span = (now - since).max(Seconds::ZERO);
    let full = i128::from(Pace::FULL.per_million());
    let missing = (Pace::FULL.work(span) - pace.work(span)) / full;
    before + Seconds(i64::try_from(missing).unwrap_or(0))
}

/// The points of an item in a pool, full first, each with its limit; none at full. It has others only where leases hold a limit and its
/// curve is known, and within what it tolerates; the one that it is held to now is always among them.
#[must_use]
pub fn points(item: &Item, snapshot: &Snapshot, site: &Site, pool: usize) -> Vec<(PoolChoice, Option<Watts>)> {
    let spec = item.spec();
    let held = held(item, snapshot, site, pool);
    let keeps = leases(snapshot, site, pool).is_some_and(|leases| leases.silent.is_empty());
    let tolerates = spec.flexibility.unwrap_or_default().permille();
    // who may not be late is never slowed for supply
    let may_wait = spec.deadline.is_some() || spec.max_delay_seconds.is_some();
    let mut slower = if keeps && may_wait { kind(&spec, snapshot, site, pool).slower(tolerates) } else { Vec::new() };
    slower.retain(|point| held.is_none_or(|held| held.pace != point.pace));
    slower.extend(held);
    slower.sort_by_key(|point| std::cmp::Reverse(point.pace));
    let id = PoolId(pool);
    let full = load_at(item, snapshot, site, pool, None);
    let slower = slower.into_iter().map(|point| {
        let load = load_at(item, snapshot, site, pool, Some(point));
        (PoolChoice { pool: id, load, pace: point.pace }, Some(point.limit))
    });
    std::iter::once((PoolChoice::full(id, full), None)).chain(slower).collect()
}

fn kind<'a>(spec: &'a LLMWorkloadSpec, snapshot: &'a Snapshot, site: &'a Site, pool: usize) -> Kind<'a> {
    let (profiles, model) = (snapshot.profiles.as_slice(), site.models[pool].as_str());
    Kind { profiles, model, class: spec.class, named: spec.profile.as_deref() }
}

fn leases<'a>(snapshot: &'a Snapshot, site: &Site, pool: usize) -> Option<&'a DomainLeases> {
    let domain = &site.tree.get(site.pools[pool].domain).spec.name;
    snapshot.leases.as_ref().filter(|_| site.is_enforced(pool))?.domains.get(domain)
}

/// The point that the plan holds an item to; none at full, and where no lease holds it.
#[must_use]
pub fn held(item: &Item, snapshot: &Snapshot, site: &Site, pool: usize) -> Option<Point> {
    let limit = item.grant.as_ref()?.slowed.as_ref()?.limit_watts?;
    leases(snapshot, site, pool)?;
    kind(&item.spec(), snapshot, site, pool).at(Watts(limit)).filter(|point| !point.pace.is_full())
}

/// What its run has lost by being held below full, in seconds at full.
#[must_use]
pub fn lost(item: &Item, snapshot: &Snapshot, site: &Site) -> Seconds {
    let Some(slowed) = item.grant.as_ref().and_then(|grant| grant.slowed.as_ref()) else { return Seconds::ZERO };
    let held = item.pool.and_then(|pool| held(item, snapshot, site, pool));
    lost_in(slowed, held.map_or(Pace::FULL, |point| point.pace), snapshot.now)
}

/// How the plan holds a start below full; none at full.
#[must_use]
pub fn start(item: &Item, snapshot: &Snapshot, site: &Site, pool: usize, pace: Pace) -> Option<Slowed> {
    let limit = limit(item, snapshot, site, pool, pace)?;
    Some(Slowed { limit_watts: Some(limit.0), since: time(snapshot.now), lost_seconds: 0 })
}

/// The grant of what goes on at another point; none where nothing is granted to it.
#[must_use]
pub fn moved(item: &Item, snapshot: &Snapshot, site: &Site, pace: Pace, load: Load) -> Option<Grant> {
    let (pool, grant) = (item.pool?, item.grant.as_ref()?);
    let limit_watts = limit(item, snapshot, site, pool, pace).map(|limit| limit.0);
    let slowed = Slowed { limit_watts, since: time(snapshot.now), lost_seconds: item.lost.0 };
    Some(Grant { watts: load.watts.0, slowed: Some(slowed), ..grant.clone() })
}

fn limit(item: &Item, snapshot: &Snapshot, site: &Site, pool: usize, pace: Pace) -> Option<Watts> {
    points(item, snapshot, site, pool).into_iter().find(|(choice, _)| choice.pace == pace)?.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profile(points: &[(i64, i32)]) -> AcceleratorProfile {
        let points: Vec<_> = points
            .iter()
            .map(|(limit, work)| json!({"limitWatts": limit, "drawWatts": limit - 10, "throughputPermille": work}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "heliotrope.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "a100"},
            "spec": {"deviceModel": "A100", "idleWatts": 50, "minWatts": 150, "maxWatts": 400, "overshootPermille": 50, "source": "this test",
                "points": points},
        }))
        .unwrap()
    }

    fn kind(profiles: &[AcceleratorProfile]) -> Kind<'_> {
        Kind { profiles, model: "A100", class: WorkloadClass::Pretraining, named: None }
    }

    #[test]
    fn points_are_as_slow_as_is_tolerated_and_not_below_the_knee() {
        let profiles = [profile(&[(100, 240), (200, 700), (250, 810), (300, 900), (350, 960), (400, 1000)])];
        let limits =
            |tolerates| kind(&profiles).slower(tolerates).iter().map(|point| point.limit.0).collect::<Vec<_>>();
        assert_eq!(limits(0), [0_i64; 0]);
        assert_eq!(limits(100), [350, 300]);
        assert_eq!(limits(120), [350, 300, 289], "the limit of what is tolerated itself");
        assert_eq!(limits(500), [350, 300, 250, 200], "a unit of work takes the least energy at 200 W");
        let point = kind(&profiles).slower(100)[1];
        assert_eq!((point.pace.per_million(), point.watts), (900_000, Watts(265)), "margin included, above idle");
        assert_eq!(kind(&profiles).at(Watts(325)).unwrap().pace.per_million(), 930_000);
    }

    #[test]
    fn what_is_not_known_has_no_points() {
        assert_eq!(kind(&[]).slower(500), []);
        let one = [profile(&[(400, 1000)])];
        assert_eq!((kind(&one).slower(500), kind(&one).at(Watts(300))), (vec![], None));
    }

    #[test]
    fn what_a_run_lost_is_counted_at_full() {
        let since = jiff::Timestamp::from_second(1000).unwrap();
        let since = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(since));
        let slowed = Slowed { limit_watts: Some(300), since, lost_seconds: 40 };
        let pace = Pace::millionths(900_000).unwrap();
        assert_eq!(lost_in(&slowed, pace, Moment(1600)), Seconds(100));
        assert_eq!(lost_in(&slowed, Pace::FULL, Moment(1600)), Seconds(40));
        assert_eq!(lost_in(&slowed, pace, Moment(0)), Seconds(40), "a clock that goes back gives nothing");
    }
}
