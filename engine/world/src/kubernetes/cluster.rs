//! The port `Cluster`: which part answers what.

use phasegate_core::config::{ConfigCopy, Left, Versioned};
use phasegate_core::effect::{Change, Create, Piece};
use phasegate_core::failure::Failure;
use phasegate_core::strategy::Slot;
use phasegate_core::workload::{Baseline, Colours, Diagnosis, Marks, Observation, Target};
use phasegate_runtime::ports::{
    ChangeError, ClaimRecord, Cluster, ConfigAsked, Found, Located, Stamp, TemplateAsked,
};

use super::KubeCluster;

#[async_trait::async_trait]
impl Cluster for KubeCluster {
    async fn locate(
        &self,
        target: &Target,
        colours: Option<&Colours>,
        routed: bool,
    ) -> Result<Located, Failure> {
        self.read_places(target, colours, routed).await
    }

    async fn baseline(&self, target: &Target) -> Result<Baseline, Failure> {
        self.read_baseline(target).await
    }

    async fn observe(&self, target: &Target) -> Result<Observation, Failure> {
        self.read_observation(target).await
    }

    async fn glance(&self, target: &Target) -> Result<Observation, Failure> {
        self.glance_at(target).await
    }

    async fn stirred(&self, target: &Target) {
        match self.views.of(target) {
            Some(view) => view.stirred(&*self.transport.clock).await,
            None => std::future::pending().await,
        }
    }

    fn look_away(&self) {
        self.views.close();
    }

    async fn change(
        &self,
        target: &Target,
        change: &Change,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.write_change(target, change, stamp).await
    }

    async fn create(
        &self,
        target: &Target,
        create: &Create,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.write_piece(target, create, stamp).await
    }

    async fn remove(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.delete_piece(target, slot, piece, stamp).await
    }

    async fn bound(
        &self,
        target: &Target,
        slot: Slot,
        minimum: u32,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.write_bound(target, slot, minimum, stamp).await
    }

    async fn found(
        &self,
        target: &Target,
        slot: Slot,
        piece: Piece,
    ) -> Result<Option<Found>, Failure> {
        self.read_found(target, slot, piece).await
    }

    async fn changed(&self, target: &Target, change: &Change) -> Result<(Marks, bool), Failure> {
        self.read_changed(target, change).await
    }

    async fn versions(
        &self,
        target: &Target,
        asked: &[ConfigAsked<'_>],
    ) -> Result<Vec<Versioned>, Failure> {
        self.read_versions(target, asked).await
    }

    async fn template(
        &self,
        target: &Target,
        asked: &TemplateAsked<'_>,
    ) -> Result<Vec<Versioned>, Failure> {
        self.read_template(target, asked).await
    }

    async fn copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.write_copy(target, copy, stamp).await
    }

    async fn remove_copy(
        &self,
        target: &Target,
        copy: &ConfigCopy,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.delete_copy(target, copy, stamp).await
    }

    async fn remove_left(
        &self,
        target: &Target,
        left: &Left,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.delete_left(target, left, stamp).await
    }

    async fn copied(&self, target: &Target, copy: &ConfigCopy) -> Result<Option<Found>, Failure> {
        self.read_copy(target, copy).await
    }

    async fn diagnose(&self, target: &Target) -> Result<Diagnosis, Failure> {
        self.read_diagnosis(target).await
    }

    async fn claim(
        &self,
        target: &Target,
        claim: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.write_claim(target, claim, stamp).await
    }

    async fn claimed(&self, target: &Target) -> Result<Option<ClaimRecord>, Failure> {
        self.read_claim(target).await
    }

    async fn release(&self, target: &Target, stamp: &Stamp) -> Result<(), ChangeError> {
        self.delete_claim(target, stamp).await
    }

    async fn hand_over(
        &self,
        target: &Target,
        to: &ClaimRecord,
        stamp: &Stamp,
    ) -> Result<(), ChangeError> {
        self.keep_claim_for(target, to, stamp).await
    }
}
