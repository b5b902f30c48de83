//! What people call their columns, in English, Portuguese, Spanish, German and French.

use super::header::Field;

/// A column name as it is compared: letters and digits only, lower case, without diacritics.
pub(super) fn normalise(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'á' | 'à' | 'â' | 'ã' | 'ä' | 'å' | 'ā' => plain.push('a'),
            'ç' | 'č' => plain.push('c'),
            'é' | 'è' | 'ê' | 'ë' | 'ē' => plain.push('e'),
            'í' | 'ì' | 'î' | 'ï' => plain.push('i'),
            'ñ' => plain.push('n'),
            'ó' | 'ò' | 'ô' | 'õ' | 'ö' | 'ø' | 'º' => plain.push('o'),
            'ú' | 'ù' | 'û' | 'ü' => plain.push('u'),
            'ý' | 'ÿ' => plain.push('y'),
            'ß' => plain.push_str("ss"),
            'æ' => plain.push_str("ae"),
            'œ' => plain.push_str("oe"),
            // Decomposed diacritics (macOS) are marks, not letters, and fall out with everything else.
            c if c.is_alphanumeric() => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// The field that a normalised column name means by itself.
pub(super) fn field(normalised: &str) -> Option<Field> {
    let (_, field) = TABLE.iter().find(|(names, _)| names.contains(&normalised))?;
    Some(field.clone())
}

const TABLE: [(&[&str], Field); 13] = [
    (
        &[
            // English
            "phone",
            "phonenumber",
            "phoneno",
            "phonenr",
            "telephone",
            "telephonenumber",
            "tel",
            "mobile",
            "mobilephone",
            "mobilephonenumber",
            "mobilenumber",
            "mobileno",
            "cell",
            "cellphone",
            "cellphonenumber",
            "cellnumber",
            "msisdn",
            "e164",
            "contactnumber",
            "whatsapp",
            "whatsappnumber",
            "whatsappphone",
            "whatsappphonenumber",
            "wanumber",
            "waid",
            "whatsappid",
            // Portuguese
            "telefone",
            "numerodetelefone",
            "numerotelefone",
            "fone",
            "celular",
            "numerocelular",
            "numerodecelular",
            "numerodocelular",
            "telefonecelular",
            "telemovel",
            "numerodetelemovel",
            "numerodewhatsapp",
            "numerodowhatsapp",
            "numerowhatsapp",
            // Spanish
            "telefono",
            "numerodetelefono",
            "numerotelefono",
            "movil",
            "telefonomovil",
            "telefonocelular",
            "numerodemovil",
            "numeromovil",
            // German
            "telefon",
            "telefonnummer",
            "telefonnr",
            "rufnummer",
            "handy",
            "handynummer",
            "handynr",
            "mobil",
            "mobilnummer",
            "mobilnr",
            "mobiltelefon",
            "mobilfunknummer",
            "mobilrufnummer",
            "whatsappnummer",
            // French
            "numerodetelephone",
            "numerotelephone",
            "portable",
            "telephoneportable",
            "telephonemobile",
            "numerodeportable",
            "numeroportable",
            "numerodemobile",
            "numeromobile",
            "gsm",
        ],
        Field::Phone,
    ),
    (&["userid", "bsuid", "whatsappuserid", "wauserid", "businessscopeduserid"], Field::UserId),
    (
        &[
            "name",
            "fullname",
            "displayname",
            "contactname",
            "customername",
            "nomecompleto",
            "nomedocliente",
            "nomedocontato",
            "nombrecompleto",
            "nombreyapellido",
            "nombreyapellidos",
            "nombredelcliente",
            "vollername",
            "vollstandigername",
            "kundenname",
            "nomcomplet",
            "nometprenom",
            "prenometnom",
        ],
        Field::Name,
    ),
    (
        &[
            "firstname",
            "givenname",
            "forename",
            // Without a column for the rest, these are the whole name.
            "nome",
            "nombre",
            "primeironome",
            "primernombre",
            "nombredepila",
            "vorname",
            "rufname",
            "prenom",
        ],
        Field::FirstName,
    ),
    (
        &[
            "lastname",
            "surname",
            "familyname",
            "sobrenome",
            "ultimonome",
            "apellido",
            "apellidos",
            "nachname",
            "familienname",
            "zuname",
            "nom",
            "nomdefamille",
        ],
        Field::LastName,
    ),
    (
        &[
            "externalid",
            "extid",
            "customerid",
            "customernumber",
            "customerno",
            "clientid",
            "crmid",
            "idexterno",
            "iddocliente",
            "idcliente",
            "clienteid",
            "codigodocliente",
            "codigocliente",
            "iddelcliente",
            "codigodelcliente",
            "numerodecliente",
            "externeid",
            "kundennummer",
            "kundennr",
            "kundenid",
            "idexterne",
            "idclient",
            "numeroclient",
            "numerodeclient",
        ],
        Field::ExternalId,
    ),
    (
        &[
            "language",
            "lang",
            "locale",
            "languagecode",
            "preferredlanguage",
            "idioma",
            "lingua",
            "lengua",
            "sprache",
            "sprachcode",
            "langue",
        ],
        Field::Language,
    ),
    (
        &[
            "timezone",
            "tz",
            "timezoneid",
            "timezonename",
            "fuso",
            "fusohorario",
            "zonahoraria",
            "husohorario",
            "zeitzone",
            "fuseau",
            "fuseauhoraire",
        ],
        Field::TimeZone,
    ),
    (
        &[
            "tags",
            "tag",
            "labels",
            "label",
            "etiquetas",
            "etiqueta",
            "marcadores",
            "marcador",
            "schlagworte",
            "schlagworter",
            "schlagwoerter",
            "schlagwort",
            "etiketten",
            "etiquettes",
            "etiquette",
        ],
        Field::Tags,
    ),
    (
        &[
            "consent",
            "consentstatus",
            "marketingconsent",
            "whatsappconsent",
            "optin",
            "optedin",
            "optinstatus",
            "whatsappoptin",
            "subscribed",
            "consentimento",
            "aceite",
            "consentimiento",
            "einwilligung",
            "zustimmung",
            "einverstandnis",
            "einverstaendnis",
            "consentement",
        ],
        Field::Consent,
    ),
    (&["optout", "optedout", "unsubscribed", "donotcontact", "donotmessage"], Field::OptOut),
    (
        &[
            "consentsource",
            "optinsource",
            "sourceofconsent",
            "origemdoconsentimento",
            "fontedoconsentimento",
            "origendelconsentimiento",
            "fuentedelconsentimiento",
            "einwilligungsquelle",
            "quelledereinwilligung",
            "sourceduconsentement",
        ],
        Field::ConsentSource,
    ),
    (
        &[
            "consentat",
            "consentdate",
            "consenttime",
            "consenttimestamp",
            "dateofconsent",
            "optinat",
            "optindate",
            "optedinat",
            "datadoconsentimento",
            "dataconsentimento",
            "fechadelconsentimiento",
            "fechadeconsentimiento",
            "fechaconsentimiento",
            "einwilligungam",
            "einwilligungsdatum",
            "datumdereinwilligung",
            "dateduconsentement",
            "dateconsentement",
        ],
        Field::ConsentAt,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_blanks_marks_and_diacritics_do_not_matter() {
        for (name, expected) in [
            ("Phone Number", Field::Phone),
            ("PHONE_NUMBER", Field::Phone),
            ("Teléfono móvil", Field::Phone),
            ("Tele\u{301}fono", Field::Phone),
            ("Celular / WhatsApp".split(" /").next().unwrap_or_default(), Field::Phone),
            ("Número de Telefone", Field::Phone),
            ("Handy-Nr.", Field::Phone),
            ("N° de téléphone".trim_start_matches("N° de "), Field::Phone),
            ("Portable", Field::Phone),
            ("Prénom", Field::FirstName),
            ("Fuseau horaire", Field::TimeZone),
            ("Fuso horário", Field::TimeZone),
            ("Einverständnis", Field::Consent),
            ("external_id", Field::ExternalId),
            ("Opt-In", Field::Consent),
            ("Opt-Out", Field::OptOut),
        ] {
            assert_eq!(field(&normalise(name)), Some(expected), "{name}");
        }
        assert_eq!(field(&normalise("Plan")), None);
    }

    #[test]
    fn each_alias_is_normalised_and_means_one_thing() {
        let mut names: Vec<&str> =
            TABLE.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        let all = names.len();
        assert!(names.iter().all(|name| normalise(name) == **name));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
