//! The cluster, with trouble.

use std::sync::Arc;

use async_trait::async_trait;
use phasegate_core::config::{ConfigCopy, Left, Versioned};
use phasegate_core::effect::{Change, Create, Piece};
use phasegate_core::failure::Failure;
use phasegate_core::strategy::Slot;
use phasegate_core::workload::{Baseline, Colours, Diagnosis, Marks, Observation, Target};
use phasegate_runtime::ports::{
    ChangeError, ClaimRecord, Cluster, ConfigAsked, Found, Located, Stamp, TemplateAsked,
};

use super::hand::Hand;
use crate::trouble::Kind;

pub(super) struct TroubledCluster(pub(super) Arc<dyn Cluster>, pub(super) Hand);

#[async_trait]
impl Cluster for TroubledCluster {
    async fn locate(
        &self,
        target: &Target,
        colours: Option<&Colours>,
        routed: bool,
    ) -> Result<Located, Failure> {
        let answer = self.0.locate(target, colours, routed);
        self.1.read(Kind::Locate, answer).await
    }

    async fn baseline(&self, target: &Target) -> Result<Baseline, Failure> {
        self.1.read(Kind::Baseline, self.0.baseline(target)).await
    }

    async fn observe(&self, target: &Target) -> Result<Observation, Failure> {
        self.1.read(Kind::Observe, self.0.observe(target)).await
    }

    async fn change(
        &self,
        target: &Target,
        change: &Change,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.change(target, change, stamp);
        self.1.write(Kind::Change, answer).await
    }

    async fn create(
        &self,
        target: &Target,
        create: &Create,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.create(target, create, stamp);
        self.1.write(Kind::Create, answer).await
    }

    async fn remove(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.remove(target, slot, piece, stamp);
        self.1.write(Kind::Remove, answer).await
    }

    async fn bound(
        &self,
        target: &Target,
        slot: Slot,
        minimum: u32,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.bound(target, slot, minimum, stamp);
        self.1.write(Kind::Bound, answer).await
    }

    async fn found(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
    ) -> Result<Option<Found>, Failure> {
        let answer = self.0.found(target, slot, piece);
        self.1.read(Kind::Probe, answer).await
    }

    async fn changed(&self, target: &Target, change: &Change) -> Result<(Marks, bool), Failure> {
        let answer = self.0.changed(target, change);
        self.1.read(Kind::Probe, answer).await
    }

    async fn versions(
        &self,
        target: &Target,
        asked: &[ConfigAsked<'_>],
    ) -> Result<Vec<Versioned>, Failure> {
        let answer = self.0.versions(target, asked);
        self.1.read(Kind::Baseline, answer).await
    }

    async fn template(
        &self,
        target: &Target,
        asked: &TemplateAsked<'_>,
    ) -> Result<Vec<Versioned>, Failure> {
        let answer = self.0.template(target, asked);
        self.1.read(Kind::Baseline, answer).await
    }

    async fn copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.copy(target, copy, stamp);
        self.1.write(Kind::Create, answer).await
    }

    async fn remove_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.remove_copy(target, copy, stamp);
        self.1.write(Kind::Remove, answer).await
    }

    async fn remove_left(
        &self,
        target: &Target,
        left: &Left,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.remove_left(target, left, stamp);
        self.1.write(Kind::Remove, answer).await
    }

    async fn copied(&self, target: &Target, copy: &ConfigCopy) -> Result<Option<Found>, Failure> {
        let answer = self.0.copied(target, copy);
        self.1.read(Kind::Probe, answer).await
    }

    async fn diagnose(&self, target: &Target) -> Result<Diagnosis, Failure> {
        self.1.read(Kind::Diagnose, self.0.diagnose(target)).await
    }

    async fn claim(
        &self,
        target: &Target,
        claim: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.claim(target, claim, stamp);
        self.1.write(Kind::Claim, answer).await
    }

    async fn claimed(&self, target: &Target) -> Result<Option<ClaimRecord>, Failure> {
        self.1.read(Kind::Probe, self.0.claimed(target)).await
    }

    async fn hand_over(
        &self,
        target: &Target,
        to: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        let answer = self.0.hand_over(target, to, stamp);
        self.1.write(Kind::Release, answer).await
    }

    async fn release(&self, target: &Target, stamp: &Stamp) -> Result<(), ChangeError> {
        let answer = self.0.release(target, stamp);
        self.1.write(Kind::Release, answer).await
    }
}
