//! Words with which people stop messages, and start them again. A word counts when it is the whole message: "stop" is
//! an opt-out, "please stop by at noon" is not. Case, diacritics, punctuation, emoji and the asterisks of bold text do
//! not matter.
//!
//! The lists hold what people in each language are told to send, or send of themselves. Words that answer an ordinary
//! question of a business (cancel, no, end, `cancelar`, `iptal`) are left out: "cancel" mostly means the appointment.
//! An account that promises such a word adds it to its own list. Buttons are judged by the same lists: first their
//! payload (`STOP`, `opt_out`), then their label ("Stop promotions").

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a whole message, payload or label asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptWord {
    /// No more messages.
    Stop,
    /// Messages again, after a stop. From somebody who never stopped, it is no consent to anything.
    Start,
}

/// No word or phrase of a list is longer, so no longer text can be one.
pub const WORD_CHARS_MAX: usize = 80;

/// The list itself, for the documentation and the settings page: language, what is asked for, words.
pub const WORDS: &[(&str, OptWord, &[&str])] = &[
    (
        "any",
        OptWord::Stop,
        &["stop", "stopall", "stop all", "unsubscribe", "opt out", "optout", "remove me", "stop 1"],
    ),
    ("any", OptWord::Start, &["start", "unstop", "opt in", "optin", "subscribe", "resubscribe"]),
    // Labels of the buttons that Meta proposes for marketing templates, and usual payloads.
    (
        "en",
        OptWord::Stop,
        &[
            "stop promotions",
            "stop promotion",
            "stop updates",
            "stop messages",
            "stop messaging me",
            "stop texting me",
            "stop marketing",
            "stop offers",
            "stop notifications",
            "stop ads",
            "stop please",
            "please stop",
            "unsubscribe me",
            "please unsubscribe",
            "unsubscribe all",
            "opt me out",
            "opt out marketing",
            "marketing opt out",
            "no more messages",
            "do not message me",
            "dont message me",
            "do not contact me",
            "dont contact me",
            "take me off your list",
        ],
    ),
    (
        "en",
        OptWord::Start,
        &["resume", "restart", "start messages", "start promotions", "subscribe me"],
    ),
    (
        "pt",
        OptWord::Stop,
        &[
            "parar",
            "pare",
            "sair",
            "parar promoções",
            "parar promoção",
            "parar mensagens",
            "parar atualizações",
            "descadastrar",
            "me descadastre",
            "cancelar inscrição",
            "cancelar assinatura",
            "remover",
            "me remova",
            "não quero mais receber",
            "não quero receber mensagens",
            "não quero mais receber mensagens",
        ],
    ),
    ("pt", OptWord::Start, &["voltar a receber", "inscrever", "quero receber"]),
    (
        "es",
        OptWord::Stop,
        &[
            "parar",
            "para ya",
            "baja",
            "dar de baja",
            "darme de baja",
            "dame de baja",
            "date de baja",
            "darse de baja",
            "cancelar suscripción",
            "anular suscripción",
            "desuscribir",
            "desuscribirme",
            "no molestar",
            "no más mensajes",
            "no quiero más mensajes",
            "no quiero recibir mensajes",
            "detener",
            "detener promociones",
            "detener mensajes",
            "parar promociones",
        ],
    ),
    ("es", OptWord::Start, &["alta", "dar de alta", "darme de alta", "suscribir", "suscribirme"]),
    (
        "de",
        OptWord::Stop,
        &[
            "stopp",
            "abmelden",
            "mich abmelden",
            "abbestellen",
            "austragen",
            "bitte austragen",
            "bitte abmelden",
            "abmeldung",
            "keine nachrichten mehr",
            "keine werbung",
            "keine werbung mehr",
            "werbung stoppen",
            "werbung stopp",
            "nachrichten stoppen",
            "stop bitte",
            "bitte stop",
            "bitte stoppen",
        ],
    ),
    ("de", OptWord::Start, &["anmelden", "abonnieren", "wieder anmelden", "fortsetzen"]),
    (
        "fr",
        OptWord::Stop,
        &[
            "arrêt",
            "arrêter",
            "arrêtez",
            "arrête",
            "désabonner",
            "me désabonner",
            "se désabonner",
            "désabonnement",
            "désabonnez-moi",
            "désinscrire",
            "me désinscrire",
            "se désinscrire",
            "désinscription",
            "désinscrivez-moi",
            "plus de messages",
            "arrêter les messages",
            "arrêter les promotions",
            "arrêter les promos",
            "stop pub",
            "stop promos",
            "stop svp",
        ],
    ),
    ("fr", OptWord::Start, &["s'abonner", "m'abonner", "abonner", "me réabonner", "reprendre"]),
    (
        "it",
        OptWord::Stop,
        &[
            "basta",
            "basta messaggi",
            "ferma",
            "disiscrivimi",
            "disiscriviti",
            "disiscrizione",
            "disiscrivi",
            "annulla iscrizione",
            "cancellami",
            "cancella iscrizione",
            "rimuovimi",
            "interrompi",
            "interrompi promozioni",
            "ferma promozioni",
            "non voglio più messaggi",
            "niente più messaggi",
        ],
    ),
    ("it", OptWord::Start, &["iscrivimi", "iscriviti", "riprendi"]),
    (
        "nl",
        OptWord::Stop,
        &[
            "stoppen",
            "afmelden",
            "meld me af",
            "uitschrijven",
            "schrijf me uit",
            "geen berichten meer",
            "stop berichten",
            "stop reclame",
            "geen reclame",
            "geen reclame meer",
        ],
    ),
    ("nl", OptWord::Start, &["aanmelden", "inschrijven", "hervatten"]),
    (
        "hi",
        OptWord::Stop,
        &[
            "बंद",
            "बंद करो",
            "बंद करें",
            "बंद कर दो",
            "रोकें",
            "रोको",
            "रुको",
            "स्टॉप",
            "मैसेज बंद करो",
            "संदेश बंद करें",
            "band karo",
            "band kro",
            "message band karo",
            "message mat bhejo",
            "mat bhejo",
        ],
    ),
    ("hi", OptWord::Start, &["शुरू", "शुरू करें", "शुरू करो", "चालू करो", "shuru karo", "chalu karo"]),
    (
        "id",
        OptWord::Stop,
        &[
            "berhenti",
            "berhenti berlangganan",
            "henti",
            "hentikan",
            "hentikan promosi",
            "hentikan pesan",
            "jangan kirim lagi",
            "stop promo",
            "stop promosi",
        ],
    ),
    ("id", OptWord::Start, &["mulai", "mulai lagi", "berlangganan"]),
    (
        "tr",
        OptWord::Stop,
        &[
            "dur",
            "durdur",
            "ret",
            "red",
            "abonelikten çık",
            "aboneliği iptal et",
            "listeden çık",
            "mesaj atmayın",
            "mesaj istemiyorum",
            "mesajları durdur",
            "promosyonları durdur",
        ],
    ),
    ("tr", OptWord::Start, &["başla", "başlat", "abone ol", "devam et"]),
    (
        "ar",
        OptWord::Stop,
        &[
            "توقف",
            "قف",
            "أوقف",
            "إيقاف",
            "ايقاف",
            "ستوب",
            "إلغاء الاشتراك",
            "الغاء الاشتراك",
            "إيقاف الرسائل",
            "إيقاف العروض",
            "لا ترسل",
            "لا ترسلوا",
            "أوقفوا الرسائل",
        ],
    ),
    ("ar", OptWord::Start, &["ابدأ", "ابدا", "اشتراك", "اشترك", "تشغيل"]),
    (
        "pl",
        OptWord::Stop,
        &[
            "wypisz",
            "wypisz mnie",
            "wypisuję się",
            "wypisz się",
            "rezygnuję",
            "rezygnacja",
            "zatrzymaj",
            "zatrzymaj promocje",
            "koniec wiadomości",
            "nie pisz",
            "nie piszcie",
            "proszę o wypisanie",
            "anuluj subskrypcję",
        ],
    ),
    ("pl", OptWord::Start, &["zapisz mnie", "subskrybuj", "wznów"]),
    (
        "ru",
        OptWord::Stop,
        &[
            "стоп",
            "отписаться",
            "отпишите",
            "отпишите меня",
            "отписка",
            "отписать",
            "отмена подписки",
            "отменить подписку",
            "хватит",
            "не пишите",
            "не писать",
            "не беспокоить",
            "остановить",
            "остановить рассылку",
        ],
    ),
    ("ru", OptWord::Start, &["старт", "подписаться", "подписка", "возобновить"]),
];

/// Normal forms of all words.
static BY_FORM: LazyLock<HashMap<String, OptWord>> = LazyLock::new(|| {
    let mut by_form = HashMap::new();
    // Stop goes last: where two languages disagree, the opt-out holds.
    for wanted in [OptWord::Start, OptWord::Stop] {
        for (_, word, forms) in WORDS.iter().filter(|(_, word, _)| *word == wanted) {
            by_form.extend(forms.iter().map(|form| (normal_form(form), *word)));
        }
    }
    by_form
});

/// Whether a whole message, or a button's payload or label, is one of the words. `account_words` are the account's own,
/// all of them meaning stop; they go before ours.
pub fn classify(text: &str, account_words: &[String]) -> Option<OptWord> {
    // Cheap first: what is longer than any phrase, with room for what is dropped, is none.
    if text.chars().nth(4 * WORD_CHARS_MAX).is_some() {
        return None;
    }
    let form = normal_form(text);
    if form.is_empty() || form.chars().count() > WORD_CHARS_MAX {
        return None;
    }
    if account_words.iter().any(|word| normal_form(word) == form) {
        return Some(OptWord::Stop);
    }
    BY_FORM.get(&form).copied()
}

/// Lower case, without diacritics, punctuation and emoji, one space between words. Letters set apart (`S.T.O.P.`)
/// become one word.
fn normal_form(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match base(c) {
            Base::Nothing => {}
            Base::One(c) => form.push(c),
            Base::Text(text) => form.push_str(text),
            Base::Gap => form.push(' '),
        }
    }
    let words: Vec<&str> = form.split(' ').filter(|word| !word.is_empty()).collect();
    let is_spelt_out = words.len() > 2 && words.iter().all(|word| word.chars().count() == 1);
    words.join(if is_spelt_out { "" } else { " " })
}

enum Base {
    Nothing,
    One(char),
    Text(&'static str),
    Gap,
}

/// A lower-case character without what people leave out on a keyboard.
fn base(c: char) -> Base {
    Base::One(match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' => 'd',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ī' | 'į' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'ş' | 'š' | 'ș' => 's',
        'ť' | 'ț' | 'ţ' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ё' => 'е',
        // Typed as и and a combining breve by some keyboards.
        'й' => 'и',
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        'ى' => 'ي',
        'ة' => 'ه',
        // ASCII in its full-width forms.
        '\u{ff41}'..='\u{ff5a}' | '\u{ff10}'..='\u{ff19}' => {
            return char::from_u32(c as u32 - 0xfee0).map_or(Base::Nothing, Base::One);
        }
        'ß' => return Base::Text("ss"),
        'æ' => return Base::Text("ae"),
        'œ' => return Base::Text("oe"),
        // Combining marks, Arabic vowel signs and the stretching tatweel, apostrophes, what is invisible, and what
        // belongs to an emoji beside it.
        '\u{300}'..='\u{36f}'
        | '\u{64b}'..='\u{65f}'
        | '\u{640}'
        | '\''
        | '’'
        | '‘'
        | '`'
        | '´'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{ad}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{20e3}'
        | '\u{93c}' => return Base::Nothing,
        c if c.is_alphanumeric() => c,
        _ => return Base::Gap,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> Option<OptWord> {
        classify(text, &[])
    }

    #[test]
    fn a_stop_word_counts_in_any_case_and_dress() {
        for text in [
            "STOP",
            "stop",
            " Stop. ",
            "*STOP*",
            "stop!!! 🛑",
            "🙏 Stop 🙏",
            "S.T.O.P.",
            "s t o p",
            "“Stop”",
            "Ｓｔｏｐ",
            "stop\u{200b}",
            "STOP\n",
            "Opt-out",
            "OPT_OUT",
            "opt out",
            "Unsubscribe",
            "Désabonner",
            "DESABONNER",
            "de\u{301}sabonner",
            "Cancelar inscrição",
            "NÃO QUERO MAIS RECEBER",
            "não quero mais receber",
            "Darme de baja",
            "Abmelden!",
            "keine Werbung mehr",
            "Disiscrivimi",
            "uitschrijven",
            "बंद करो",
            "Berhenti",
            "DUR",
            "ABONELİKTEN ÇIK",
            "abonelikten cik",
            "إيقاف",
            "ايقاف",
            "توقّف",
            "Wypisz mnie",
            "REZYGNUJĘ",
            "rezygnuje",
            "Стоп",
            "ОТПИСАТЬСЯ",
            "Stop promotions",
            "STOP_PROMOTIONS",
            "Stop updates",
            "Don't message me",
            "Don’t contact me",
        ] {
            assert_eq!(plain(text), Some(OptWord::Stop), "{text}");
        }
    }

    #[test]
    fn a_start_word_is_told_from_a_stop_word() {
        for text in [
            "START",
            "unstop",
            "Un-Stop",
            "Opt in",
            "Subscribe",
            "Старт",
            "S'abonner",
            "ابدأ",
            "Mulai",
            "başla",
        ] {
            let expected = if text == "Un-Stop" { None } else { Some(OptWord::Start) };
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_inside_a_sentence_and_answers_to_a_business_do_not_count() {
        for text in [
            "please stop by at noon",
            "Stop, I will come myself",
            "non stop",
            "full stop",
            "bus stop?",
            "cancel",
            "Cancelar",
            "no",
            "end",
            "quit",
            "iptal",
            "yes",
            "",
            "   ",
            "🛑",
            "!!!",
            "1",
            "restart my order",
        ] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn the_accounts_own_words_mean_stop_and_go_first() {
        let own = vec!["Genug!".to_owned(), "start".to_owned(), "  ".to_owned()];
        assert_eq!(classify("GENUG", &own), Some(OptWord::Stop));
        assert_eq!(classify("Start", &own), Some(OptWord::Stop));
        assert_eq!(classify("", &own), None);
        assert_eq!(classify("genug davon", &own), None);
    }

    #[test]
    fn every_word_of_the_list_is_found_as_what_it_stands_under_and_fits_the_bound() {
        for (language, word, forms) in WORDS {
            for form in *forms {
                assert_eq!(plain(form), Some(*word), "{language}: {form}");
                assert_eq!(plain(&form.to_uppercase()), Some(*word), "{language}: {form}");
            }
        }
    }

    #[test]
    fn a_text_of_any_length_is_refused_without_being_read_to_its_end() {
        assert_eq!(plain(&"stop ".repeat(100_000)), None);
        assert_eq!(plain(&format!("stop{}", "!".repeat(300))), Some(OptWord::Stop));
    }

    proptest! {
        #[test]
        fn any_text_is_classified_without_a_panic(text: String, own: Vec<String>) {
            classify(&text, &own);
        }
    }
}
