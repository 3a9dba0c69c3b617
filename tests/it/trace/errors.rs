//! Every way in which a trace can be wrong, and what is said about it.

use super::*;

const HEAD: &str = "timestamp,input_length,output_length,request_id\n";
const ROW: &str = "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 5}\n";

fn message(text: impl AsRef<[u8]>, options: &ReadOptions) -> String {
    Trace::from_bytes("trace", text.as_ref(), options).unwrap_err().to_string()
}

/// `name`, the input, and the message, one after the other.
fn report(cases: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (input, message) in cases {
        writeln!(text, "{}\n{message}\n", input.escape_debug().to_string().replace("\\\"", "\""))
            .unwrap();
    }
    text
}

#[test]
fn csv_errors() {
    let rows = [
        "0,x,5,a",
        "0,5,,a",
        "0,5,5",
        "0,5,5,a,b",
        "-1,5,5,a",
        "1e30,5,5,a",
        "0,-5,5,a",
        "0,2147483648,5,a",
        "0,5.5,5,a",
        "0,0,5,a",
        ",5,5,a",
        "0,5,5,\"a",
        "soon,5,5,a",
    ];
    let mut cases: Vec<_> = rows
        .iter()
        .map(|row| (*row, message(format!("{HEAD}0,1,1,z\n{row}\n"), &ReadOptions::default())))
        .collect();
    let files = [
        "",
        "\n\n",
        "timestamp,input_length,output_length\n",
        "timestamp,input_length\n0,5\n",
        "timestamp,input_length,output_length,speed\n0,5,5,1\n",
        "timestamp,input_length,output_length,input_tokens\n0,5,5,1\n",
        "timestamp,input_length,output_length,request_id\n0,5,5,b\n0,5,5,a\n\n0,5,5,b\n",
        "timestamp,input_length,output_length,request_id\n0,5,5,r1\n0,5,5,\n",
        "timestamp,input_length,output_length\n0,5,0\n",
        "time,prompt,answer\n0,5,5\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-31 00:00:00.0000000,5,5\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n12,5,5\n",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n1.5s,GPT-4,5,5,10,A\n",
        "input_length,output_length,timestamp,hash_ids\n1024,5,0,1 2 3\n",
        "input_length,output_length,timestamp,hash_ids\n1024,5,0,1 two\n",
    ];
    cases.extend(files.iter().map(|file| (*file, message(file, &ReadOptions::default()))));
    snapshot!("errors-csv", report(&cases));
}

#[test]
fn json_errors() {
    let row = |rest: &str| format!("{{\"timestamp\": 0, \"input_length\": 600, {rest}}}\n");
    let owned = [
        "[{\"timestamp\": 0}]\n".to_owned(),
        "{\"timestamp\": 0, \"input_length\": 5, \"out".to_owned(),
        "{\"timestamp\": 0, \"input_length\": 5 \"output_length\": 5}\n".to_owned(),
        "{\"timestamp\": NaN, \"input_length\": 5, \"output_length\": 5}\n".to_owned(),
        format!("{ROW}[1, 2]\n"),
        format!("{ROW}{ROW}{{}} x\n"),
        row("\"speed\": 3, \"output_length\": 5"),
        row("\"output_tokens\": 5, \"output_length\": 5"),
        row("\"output_length\": \"5\""),
        row("\"output_length\": 5, \"hash_ids\": 7"),
        row("\"output_length\": 5, \"hash_ids\": [1, 2, 3]"),
        row("\"output_length\": 5, \"hash_ids\": [1]"),
        row("\"output_length\": 5, \"hash_ids\": [1, -2]"),
        row("\"output_length\": 5, \"hash_ids\": [1, 36028797018963968]"),
        row("\"output_length\": 5, \"hash_ids\": [[1], 2]"),
        row("\"output_length\": 5, \"max_tokens\": 0"),
        row("\"output_length\": 5, \"priority\": 0.5"),
        row("\"output_length\": 5, \"abort_after_ms\": -1"),
        row("\"output_length\": 5, \"request_id\": \"\""),
        row("\"output_length\": 5, \"delay\": 5"),
        format!("{ROW}{{\"input_length\": 5, \"output_length\": 5}}\n"),
        format!(
            "{ROW}{{\"session_id\": \"s\", \"delay\": 1, \"input_length\": 5, \"output_length\": 5}}\n"
        ),
        "{\"timestamp\": 0, \"sub_requests\": []}\n".to_owned(),
        "{\"id\": 1, \"block_size\": 64, \"requests\": []}\n".to_owned(),
        "{\"input_toks\": 2, \"output_toks\": 1, \"arrival_time_ns\": 0, \"input_tok_ids\": [1]}\n"
            .to_owned(),
    ];
    let cases: Vec<_> =
        owned.iter().map(|text| (text.as_str(), message(text, &ReadOptions::default()))).collect();
    snapshot!("errors-json", report(&cases));
}

#[test]
fn errors_of_bytes_files_and_options() {
    let defaults = ReadOptions::default;
    let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 00:00:00.0000000,5,5\n";
    let forced = ReadOptions { format: Some(TraceFormat::Azure), ..defaults() };
    let unit = ReadOptions { time_unit: Some(TimeUnit::S), ..defaults() };
    let block = ReadOptions { hash_block_size: Some(0), ..defaults() };
    let slow = ReadOptions { rate_scale: "1e-12".parse().unwrap(), ..defaults() };
    let late = ROW.replace("\"timestamp\": 0", "\"timestamp\": 100000");
    let mut latin = ROW.as_bytes().to_vec();
    latin.extend_from_slice(b"{\"timestamp\": 0, \"request_id\": \"caf\xe9\"}\n");
    let missing = Trace::open(Path::new("no/such/trace.csv"), &defaults()).unwrap_err();
    let directory = Trace::open(Path::new("/"), &defaults()).unwrap_err();
    let cases = [
        ("not UTF-8", message(latin, &defaults())),
        ("not a trace", message(b"\x7fELF\x02\x01\x01\0\0", &defaults())),
        ("cut gzip", message(b"\x1f\x8b\x08\0", &defaults())),
        ("missing file", missing.to_string()),
        ("directory", directory.to_string()),
        ("--format azure", message("timestamp,input_length,output_length\n0,5,5\n", &forced)),
        ("--time-unit s", message(azure, &unit)),
        ("--hash-block-size 0", message(ROW, &block)),
        ("--rate-scale 1e-12", message(late, &slow)),
        ("endless line", message(vec![b'{'; (64 << 20) + 1], &defaults())),
    ];
    snapshot!("errors-other", report(&cases));
}

#[test]
fn unknown_columns_may_be_read_past() {
    let options = ReadOptions { ignore_unknown: true, ..ReadOptions::default() };
    let csv = "timestamp,input_length,output_length,speed\n0,5,5,fast\n";
    let json =
        "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 5, \"speed\": [1, {}]}\n";
    assert_eq!(
        requests(&read_text(csv, &options).unwrap()),
        requests(&read_text(json, &options).unwrap())
    );
}
