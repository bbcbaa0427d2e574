//! What goes wrong between the operator and the API server delays a hospital and changes nothing of it.

use serde_json::json;

use super::{
    gate::Fault,
    hospital::Hospital,
    shape::{is_like, shape},
    world::run,
};

#[test]
fn refused_lost_and_unanswered_requests_only_delay_a_hospital() {
    run(async |world| {
        let reference = Hospital::open(world, "without-faults").await;
        reference.settles().await;
        let expected = shape(&reference).await;
        let hospital = Hospital::named(world, "with-faults");
        let gate = world.gate().await;
        let faults = [
            Fault::Answer(429, "TooManyRequests"),
            Fault::Lost,
            Fault::Answer(409, "Conflict"),
            Fault::Answer(500, "InternalError"),
            Fault::Silence,
            Fault::Answer(503, "ServiceUnavailable"),
            Fault::Lost,
        ];
        gate.trouble(&hospital.name, faults);
        hospital.create(json!({})).await;
        hospital.ready().await;
        assert_eq!(gate.troubles_left(&hospital.name), 0, "some faults never happened");
        is_like(&hospital, &expected).await;
    });
}
