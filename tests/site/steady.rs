//! Everything works: the installation on nodes that are in use, a steady run, a curtailment and its end.

use crate::meter::now;
use crate::site::{DEEP, Site, Told, pause};

/// The root goes from Observe to Enforce while all GPUs are at work, far above the cap.
pub fn install(site: &mut Site) {
    // nothing is touched in Observe
    pause(3000);
    let watched = site.meter.last().unwrap();
    assert!(watched.worst[0] > 1.15 * crate::tree::FEEDS[0].cap, "{watched:?}");
    assert!(site.meter.record().lowered(0, now()).is_empty(), "in Observe nothing is set");
    let at = now();
    site.enforce();
    site.scenario("install where GPUs are at work", |site, told| {
        let fell = site.fell(at, 60);
        told.within("limits set on all", fell, 30.0);
        pause(3000);
        told.within("then 99 % of what is allowed after", site.back(now(), 0.99, 60), 60.0);
        pause(35_000_u64.saturating_sub(now() - at));
        let disturbed = site.cluster.disturbed();
        told.must(disturbed.is_empty(), format!("pods and nodes: {disturbed:?}"));
    });
}

pub fn steady(site: &mut Site, told: &mut Told) {
    let from = now();
    pause(site.seconds(20, 120) * 1000);
    let figures = site.meter.record().figures(from, now());
    for (feed, figures) in crate::tree::FEEDS.iter().zip(&figures) {
        told.note(format!("{} {:.2} %", feed.name, figures.use_of_allowed * 100.0));
    }
    told.must(figures[0].use_of_allowed >= 0.99, "steady use is below 99 % of what the caps allow");
}

pub fn curtailed(site: &mut Site, told: &mut Told) {
    let at = site.curtail("deep", 0, DEEP);
    let fell = site.fell(at, 30);
    told.within("last limit lowered", fell, 30.0);
    told.within("last read-back", site.read_back(at, 30), 30.0);
    told.within("told", site.told(at, 30), 30.0);
    pause(35_000_u64.saturating_sub(now() - at));
    let at = site.release("deep", 0);
    let back = site.back(at, 0.95, 60);
    told.within("back at 95 %", back, 60.0);
}
