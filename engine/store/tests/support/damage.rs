//! What tests do to a journal on a shelf behind its back.

use phasegate_runtime::shelf::{Part, Shelf};
use phasegate_store::chain::Row;
use phasegate_store::segments::{Page, rows_of};

/// Changes the rows of a run: its sheets are taken away, and others are put in their place, a row on each.
pub(crate) async fn damage(shelf: &dyn Shelf, run: &str, damage: impl FnOnce(&mut Vec<Row>)) {
    let parts = [Part::First, Part::Segment];
    let mut sheets = shelf.list(Some(run), &parts, true).await.unwrap();
    sheets.sort_by(|a, b| a.name.cmp(&b.name));
    let pages: Vec<Page> = sheets.iter().map(rows_of).collect();
    let (entry, kept) = (pages[0].entry.clone(), pages[0].kept.clone());
    let mut rows: Vec<Row> = pages.into_iter().flat_map(|page| page.rows).collect();
    damage(&mut rows);
    for sheet in &sheets {
        shelf.remove(&sheet.name).await.unwrap();
    }
    let mut rest = rows.into_iter();
    let first = Page {
        entry,
        kept,
        rows: rest.next().into_iter().collect(),
    };
    shelf.put(&first.sheet(run, 1).unwrap()).await.unwrap();
    for (row, seq) in rest.zip(2..) {
        let page = Page {
            entry: None,
            kept: None,
            rows: vec![row],
        };
        shelf.put(&page.sheet(run, seq).unwrap()).await.unwrap();
    }
}
