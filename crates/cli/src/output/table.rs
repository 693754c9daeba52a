//! Tables for people: plain columns, no borders, so that `grep`, `cut` and a narrow terminal get along with them.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::plain;

/// On which side a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with a header. Every row has as many cells as the header, and every cell one line.
pub fn table(header: &[(&str, Align)], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|(name, _)| name.to_uppercase()));
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| plain::line(&cell).into_owned())));
    for (column, (_, align)) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_make_lines_of_its_own() {
        let rows = [vec!["a\nin all  9".to_owned(), "1".to_owned()]];
        let header = [("name", Align::Left), ("records", Align::Right)];
        assert_eq!(table(&header, rows), "NAME          RECORDS\na\\nin all  9        1");
    }

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let rows = [("shop.orders", "1,000,000"), ("shop.x", "7")];
        let rows = rows.map(|(name, count)| vec![name.to_owned(), count.to_owned(), String::new()]);
        let header = [("namespace", Align::Left), ("records", Align::Right), ("note", Align::Left)];
        assert_eq!(
            table(&header, rows),
            "NAMESPACE      RECORDS  NOTE\nshop.orders  1,000,000\nshop.x               7"
        );
    }
}
