//! ConfigMaps, Secrets and pod templates that are versioned with the workload: copies are made before anything refers
//! to them, and taken away on the way back, once nothing does any more.

use super::Run;
use super::state::Known;
use crate::config::{ConfigKind, Content, Reference, Versioned};
use crate::effect::{Create, Piece, Request};
use crate::plan::Step;
use crate::strategy::Slot;

impl Run {
    /// What the new version refers to.
    pub(super) fn references(&self) -> Vec<Reference> {
        let configs = self.referred();
        configs
            .map(|config| config.reference(&config.copy.name))
            .collect()
    }

    /// What stable referred to before the run.
    pub(super) fn references_before(&self) -> Vec<Reference> {
        let configs = self.referred();
        configs
            .map(|config| config.reference(&config.before))
            .collect()
    }

    /// What the new version refers to, without what is kept of the old one.
    fn referred(&self) -> impl Iterator<Item = &Versioned> {
        let configs = self.hand.configs.iter();
        configs.filter(|config| !config.keeps_old())
    }

    /// The digest of stable's template once it refers to these; none where they leave it as it is.
    pub(super) fn digest_of(&self, references: &[Reference]) -> Option<String> {
        let mut all = references.iter();
        let template = all.find(|reference| reference.kind == ConfigKind::Template)?;
        let made = |config: &&Versioned| config.copy.name == template.name;
        match self
            .referred()
            .find(made)
            .map(|config| &config.copy.content)
        {
            Some(Content::Manifest { digest, .. }) => Some(digest.clone()),
            _ => Some(self.hand.baseline.template_digest.clone()),
        }
    }

    /// Whether the run has asked for the whole template to be written.
    pub(super) fn owns_template(&self) -> bool {
        let mut owned = self.known.owned.configs.iter();
        owned.any(|reference| reference.kind == ConfigKind::Template)
    }

    /// What is kept from an earlier release referred to before the run.
    pub(super) fn references_of_idle(&self) -> Vec<Reference> {
        // One that it did not refer to came with stable's template, and must not keep a copy that is to go.
        let idle = self.referred().map(|config| {
            let name = config.idle.as_deref().unwrap_or(&config.before);
            config.reference(name)
        });
        idle.collect()
    }

    /// Whether it is a template of before the run whose copy was taken away: stable was seen to have it again.
    pub(super) fn is_gone(&self, wanted: &Reference) -> bool {
        let mut configs = self.hand.configs.iter().enumerate();
        configs.any(|(place, config)| {
            let there = config.there || self.known.pieces.contains(&Piece::Config(place));
            config.keeps_old() && config.copy.name == wanted.name && !there
        })
    }

    /// Brings the new version up in stable's Deployment, after the copies that it refers to.
    pub(super) fn deploy_in_place(
        &mut self,
        step: &Step,
        force: bool,
    ) -> Result<(), super::Illegal> {
        self.known.forced = force;
        if self.next_to_copy().is_some() {
            return self.advance(step);
        }
        self.known.forced = false;
        self.write_stable(step, force)
    }

    /// The next copy to make.
    pub(super) fn next_to_copy(&self) -> Option<(&'static str, Request)> {
        let mut configs = self.hand.configs.iter().enumerate();
        let (place, config) = configs.find(|(place, config)| {
            !config.there && !self.known.made.contains(&Piece::Config(*place))
        })?;
        let create = Create {
            piece: Piece::Config(place),
            image: self.hand.image.clone(),
            replicas: 0,
            configs: Vec::new(),
            copy: Some(Box::new(config.copy.clone())),
        };
        Some(("create-config", Request::Create { create }))
    }

    /// The next copy to take away.
    pub(super) fn next_copy_to_remove(&self) -> Option<(&'static str, Request)> {
        let piece = self.known.copies().next()?;
        let slot = Slot::Candidate;
        Some(("remove-config", Request::Remove { slot, piece }))
    }

    /// Whether something may still refer to a copy: stable until it was seen ready as it was before, the candidate
    /// while it is there.
    pub(super) fn refers_to_copies(&self) -> bool {
        let known = &self.known;
        let stable = !known.owned.configs.is_empty() && !known.ready;
        stable || known.pieces.contains(&Piece::Deployment)
    }
}

impl Known {
    /// The copies that the run has made, or may have.
    pub(super) fn copies(&self) -> impl Iterator<Item = Piece> + '_ {
        let pieces = self.pieces.iter().copied();
        pieces.filter(|piece| matches!(piece, Piece::Config(_)))
    }
}
