-- So that ø, đ, æ, ł and their like are found by o, d, ae, l in rows that are there already. The letters are those of
-- src/platform/words.ts. The words of before stay: the version before this one may go on serving meanwhile.

INSERT IGNORE INTO customer_words (word, customer_id)
SELECT LEFT(folded, 64), customer_id
FROM (
  SELECT word, customer_id,
    replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(word,
      'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'), 'ø', 'o'), 'ɔ', 'o'), 'đ', 'd'), 'ð', 'd'),
      'ɖ', 'd'), 'ɗ', 'd'), 'ł', 'l'), 'ƚ', 'l'), 'ħ', 'h'), 'ŧ', 't'), 'ƭ', 't'), 'ŋ', 'n'),
      'ɲ', 'n'), 'ĸ', 'k'), 'ƙ', 'k'), 'ɓ', 'b'), 'ƀ', 'b'), 'ƥ', 'p'), 'ƒ', 'f'), 'ǥ', 'g'),
      'ɣ', 'g'), 'ɛ', 'e'), 'ə', 'e'), 'ɨ', 'i'), 'ʉ', 'u'), 'ʋ', 'v'), 'ƴ', 'y'), 'ƶ', 'z') AS folded
  FROM customer_words
  WHERE LENGTH(word) <> CHAR_LENGTH(word)
) AS w
WHERE folded <> word;

INSERT IGNORE INTO product_words (word, product_id)
SELECT LEFT(folded, 64), product_id
FROM (
  SELECT word, product_id,
    replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(word,
      'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'), 'ø', 'o'), 'ɔ', 'o'), 'đ', 'd'), 'ð', 'd'),
      'ɖ', 'd'), 'ɗ', 'd'), 'ł', 'l'), 'ƚ', 'l'), 'ħ', 'h'), 'ŧ', 't'), 'ƭ', 't'), 'ŋ', 'n'),
      'ɲ', 'n'), 'ĸ', 'k'), 'ƙ', 'k'), 'ɓ', 'b'), 'ƀ', 'b'), 'ƥ', 'p'), 'ƒ', 'f'), 'ǥ', 'g'),
      'ɣ', 'g'), 'ɛ', 'e'), 'ə', 'e'), 'ɨ', 'i'), 'ʉ', 'u'), 'ʋ', 'v'), 'ƴ', 'y'), 'ƶ', 'z') AS folded
  FROM product_words
  WHERE LENGTH(word) <> CHAR_LENGTH(word)
) AS w
WHERE folded <> word;

-- A customer that was deleted while the first statement ran may have got words back: then searches would find it.
DELETE w FROM customer_words AS w JOIN customers AS c ON c.id = w.customer_id WHERE c.deleted_at IS NOT NULL;
