"""What the page says, in the languages it speaks; the browser chooses.

A sentence has a name and one text a language, English first. Python fills them in for the visitor
of a request (`Words`), the browser for what stands on the page (`for_browser`), Gradio for the
labels of its own controls (`for_gradio`). To add a language, add a column.

What the libraries below the page say is English; `errors` knows what people meet of it.
"""

from collections.abc import Mapping
from typing import Any

#: The languages, in the order of the texts below.
LANGUAGES = ("en", "de")

#: Sentences that Python fills in.
SENTENCES: dict[str, tuple[str, str]] = {
    "choose": (
        "Choose a photo, then press Restore.",
        "Wählen Sie ein Foto, dann drücken Sie „Restaurieren“.",
    ),
    "nothing": ("Choose a photo first.", "Wählen Sie zuerst ein Foto."),
    "moments_finding": (
        "Looking for what happened during the exposure…",
        "Es wird gesucht, was während der Belichtung geschah…",
    ),
    "moments_found": (
        "This is what may have happened during the exposure.",
        "Das kann während der Belichtung geschehen sein.",
    ),
    "moments_busy": (
        "One exposure is being looked into already.",
        "Eine Belichtung wird schon untersucht.",
    ),
    "moments_about": (
        "Longest way: {pixels} pixels. Found by: {method}.",
        "Längster Weg: {pixels} Pixel. Gefunden durch: {method}.",
    ),
    "moments_lines": ("search for straight lines", "Suche nach geraden Linien"),
    "gone": (
        "The photos have been deleted here. Upload them again.",
        "Die Fotos sind hier gelöscht worden. Laden Sie sie neu hoch.",
    ),
    "expired": (
        "The photos have been deleted here, {kept} after your last action. Choose new ones.",
        "Die Fotos sind hier gelöscht worden, {kept} nach Ihrer letzten Handlung. Wählen Sie neue.",
    ),
    "deleted": ("The photos have been deleted here.", "Die Fotos sind hier gelöscht worden."),
    "one_ready": ("1 photo is ready. Press Restore.", "1 Foto ist bereit. Restaurieren Sie es."),
    "many_ready": (
        "{count} photos are ready. Press Restore.",
        "{count} Fotos sind bereit. Restaurieren Sie sie.",
    ),
    "one_removed": ("{name} has been deleted here.", "{name} ist hier gelöscht worden."),
    "waiting": (
        "Waiting: {ahead} before you. Cancel takes you out of the queue.",
        "In der Warteschlange: {ahead} vor Ihnen. „Abbrechen“ nimmt Sie heraus.",
    ),
    "next": ("Waiting: you are next.", "In der Warteschlange: Sie sind der Nächste."),
    "full": (
        "The queue is full: {count} are waiting. Press Restore to try again in a moment.",
        "Die Warteschlange ist voll: {count} warten. Drücken Sie gleich noch einmal "
        "„Restaurieren“.",
    ),
    "working": ("Restoring {which}…", "{which} wird restauriert…"),
    "steps": (
        "Restoring {which}: {done} of {total} steps",
        "{which} wird restauriert: Schritt {done} von {total}",
    ),
    "the_photo": ("the photo", "Das Foto"),
    "photo_of": ("photo {number} of {count}", "Foto {number} von {count}"),
    "cancelling": ("Cancelling…", "Wird abgebrochen…"),
    "cancelled": ("Cancelled.", "Abgebrochen."),
    "out_of_queue": (
        "Cancelled: you are out of the queue.",
        "Abgebrochen: Sie stehen nicht mehr in der Warteschlange.",
    ),
    "cancelled_after": (
        "Cancelled. {done} of {count} are restored.",
        "Abgebrochen. {done} von {count} sind restauriert.",
    ),
    "idle": ("Nothing is under way.", "Es läuft gerade nichts."),
    "some_restored": ("{done} of {count} restored.", "{done} von {count} restauriert."),
    "all_restored": ("{count} photos restored.", "{count} Fotos restauriert."),
    "one_waits": (
        "1 more waits: press Restore.",
        "1 weiteres wartet: drücken Sie „Restaurieren“.",
    ),
    "many_wait": (
        "{count} more wait: press Restore.",
        "{count} weitere warten: drücken Sie „Restaurieren“.",
    ),
    "done": ("Done: {what}. Detected: {seen}.", "Fertig: {what}. Erkannt: {seen}."),
    "applying": ("Applying…", "Wird angewendet…"),
    "applied": ("Applied.", "Angewendet."),
    "finding_faces": ("Looking for faces…", "Gesichter werden gesucht…"),
    "press_restore": (
        "Press Restore to apply this.",
        "Drücken Sie „Restaurieren“, um es anzuwenden.",
    ),
    "region_kept": (
        "Restore will change the marked part only.",
        "Restauriert wird nur der markierte Teil.",
    ),
    "region_gone": (
        "Restore will change the whole photo.",
        "Restauriert wird das ganze Foto.",
    ),
    "downloaded_kept": (
        "Downloaded {name}. It is kept here until {kept} have passed without any action.",
        "{name} ist heruntergeladen. Es bleibt hier, bis {kept} ohne Handlung vergangen sind.",
    ),
    "downloaded_last": (
        "Downloaded {name}. Upload and result have been deleted here; what you still see is "
        "only in your browser.",
        "{name} ist heruntergeladen. Foto und Ergebnis sind hier gelöscht worden; was Sie noch "
        "sehen, ist nur in Ihrem Browser.",
    ),
    "downloaded_one": (
        "Downloaded {name}. Upload and result have been deleted here. Still here: {left}.",
        "{name} ist heruntergeladen. Foto und Ergebnis sind hier gelöscht worden. Noch hier: "
        "{left}.",
    ),
    "one_photo": ("1 photo", "1 Foto"),
    "many_photos": ("{count} photos", "{count} Fotos"),
    "no_example": ("There is no such example.", "Ein solches Beispiel gibt es nicht."),
    "too_many": (
        "More than {most} photos at once are not taken.",
        "Mehr als {most} Fotos auf einmal werden nicht genommen.",
    ),
    "too_long": (
        "It was given up after {limit}, the time limit for a photo on this page. Try a smaller "
        "one, or another model.",
        "Nach {limit}, der Höchstzeit für ein Foto auf dieser Seite, wurde es aufgegeben. "
        "Versuchen Sie ein kleineres oder ein anderes Modell.",
    ),
    "no_restorer": (
        "No model to restore with is installed.",
        "Es ist kein Modell zum Restaurieren installiert.",
    ),
    "unreadable": (
        "It could not be read or written: {reason}.",
        "Es konnte nicht gelesen oder geschrieben werden: {reason}.",
    ),
    "no_memory": (
        "There is not enough memory for a photo of this size. Make it smaller.",
        "Für ein Foto dieser Größe reicht der Speicher nicht. Verkleinern Sie es.",
    ),
    "unforeseen": (
        "Something went wrong ({kind}). Try another photo or other settings.",
        "Etwas ist schiefgegangen ({kind}). Versuchen Sie ein anderes Foto oder andere "
        "Einstellungen.",
    ),
    # What is wrong with a file.
    "is_empty": ("It is empty.", "Die Datei ist leer."),
    "is_kind": (
        "This is {kind}. Refocus reads {formats}.",
        "Das ist {kind}. Refocus liest {formats}.",
    ),
    "is_unknown": (
        "This is no picture that Refocus reads, whatever its name says. It reads {formats}.",
        "Das ist kein Bild, das Refocus liest, was auch der Name sagt. Es liest {formats}.",
    ),
    "is_large": (
        "It has {size} megapixels; this page takes up to {most}. Make it smaller, or ask whoever "
        "runs the page to start it with --max-megapixels {suggested}.",
        "Es hat {size} Megapixel; diese Seite nimmt bis zu {most}. Verkleinern Sie es, oder bitten "
        "Sie, wer die Seite betreibt, sie mit --max-megapixels {suggested} zu starten.",
    ),
    "is_heavy": (
        "The file has {size}; this page takes up to {most}. Make it smaller, or ask whoever runs "
        "the page to start it with {flag} {suggested}.",
        "Die Datei hat {size}; diese Seite nimmt bis zu {most}. Verkleinern Sie sie, oder bitten "
        "Sie, wer die Seite betreibt, sie mit {flag} {suggested} zu starten.",
    ),
    "is_leaving": (
        "Left out: files whose names begin with “._” are notes that macOS leaves, not photos.",
        "Ausgelassen: Dateien, deren Name mit „._“ beginnt, sind Notizen von macOS, keine Fotos.",
    ),
    "is_damaged": (
        "It is damaged or cut off. Get it again from where it came.",
        "Die Datei ist beschädigt oder abgeschnitten. Holen Sie sie noch einmal.",
    ),
    "kind_video": ("a video", "ein Video"),
    "kind_pdf": ("a PDF document", "ein PDF-Dokument"),
    "kind_svg": ("a drawing (SVG)", "eine Zeichnung (SVG)"),
    "kind_archive": ("an archive or document", "ein Archiv oder Dokument"),
    "kind_raw": ("a raw file of a camera", "eine Rohdatei einer Kamera"),
    "kind_program": ("a program", "ein Programm"),
    "kind_sound": ("a sound", "ein Ton"),
    "kind_psd": ("a Photoshop file", "eine Photoshop-Datei"),
    "kind_text": ("a text", "ein Text"),
    "is_photo": (
        "This is a photo. Choose it on the Photos tab.",
        "Das ist ein Foto. Wählen Sie es unter „Fotos“.",
    ),
    "is_video": (
        "This is a video. Choose it on the Video tab.",
        "Das ist ein Video. Wählen Sie es unter „Video“.",
    ),
    "is_no_clip": (
        "This is no video that Refocus reads, whatever its name says.",
        "Das ist kein Video, das Refocus liest, was auch der Name sagt.",
    ),
    # What goes wrong in the libraries below.
    "too_long_sides": (
        "It is more than {most} pixels wide or high. Make it smaller.",
        "Es ist mehr als {most} Pixel breit oder hoch. Verkleinern Sie es.",
    ),
    "not_supported": (
        "It is of a kind that is not read. Save it as JPEG or PNG.",
        "Diese Art der Datei wird nicht gelesen. Speichern Sie das Bild als JPEG oder PNG.",
    ),
    "no_such_model": (
        "The model “{model}” is not there.",
        "Das Modell „{model}“ ist nicht da.",
    ),
    "no_server": (
        "The server of the models cannot be reached ({address}). Tell whoever runs the page.",
        "Der Server der Modelle ist nicht zu erreichen ({address}). Sagen Sie es, wer die Seite "
        "betreibt.",
    ),
    "slow_server": (
        "The server of the models ({address}) does not answer. Try again later.",
        "Der Server der Modelle ({address}) antwortet nicht. Versuchen Sie es später noch einmal.",
    ),
    "failed_server": (
        "The server of the models ({address}) cannot do this. Tell whoever runs the page.",
        "Der Server der Modelle ({address}) kann das nicht. Sagen Sie es, wer die Seite betreibt.",
    ),
    "region_outside": (
        "The marked part lies outside of the photo. Mark another one.",
        "Der markierte Teil liegt außerhalb des Fotos. Markieren Sie einen anderen.",
    ),
    "no_face_detector": (
        "Faces cannot be found here: a package is missing. Tell whoever runs the page.",
        "Gesichter können hier nicht gefunden werden: ein Paket fehlt. Sagen Sie es, wer die Seite "
        "betreibt.",
    ),
    "format_too_small": (
        "A {format} picture can be at most {most} pixels wide and high. Choose another format.",
        "Ein Bild in {format} kann höchstens {most} Pixel breit und hoch sein. Wählen Sie ein "
        "anderes Format.",
    ),
    "said_in_english": (
        "{message}",
        "Es hat nicht geklappt. Auf Englisch heißt es: {message}",
    ),
    # Clips.
    "choose_clip": (
        "Choose a clip. Restoring takes long: Preview restores its first {seconds:g} seconds.",
        "Wählen Sie ein Video. Das Restaurieren dauert lange: die Vorschau restauriert nur die "
        "ersten {seconds:g} Sekunden.",
    ),
    "clip_ready": (
        "The clip is ready. Preview its first seconds, or restore all of it.",
        "Das Video ist bereit. Sehen Sie sich die Vorschau an, oder restaurieren Sie es ganz.",
    ),
    "clip_deleted": ("The clip has been deleted here.", "Das Video ist hier gelöscht worden."),
    "clip_gone": (
        "The clip has been deleted here. Upload it again.",
        "Das Video ist hier gelöscht worden. Laden Sie es neu hoch.",
    ),
    "clip_expired": (
        "The clip has been deleted here, {kept} after your last action. Choose a new one.",
        "Das Video ist hier gelöscht worden, {kept} nach Ihrer letzten Handlung. Wählen Sie ein "
        "neues.",
    ),
    "clip_waiting": (
        "Waiting: clips before yours: {ahead}. Cancel takes it out of the queue.",
        "In der Warteschlange: Videos vor Ihrem: {ahead}. „Abbrechen“ nimmt es heraus.",
    ),
    "clip_starting": ("Starting…", "Wird begonnen…"),
    "clip_looking": ("Looking through the clip…", "Das Video wird durchgesehen…"),
    "clip_restoring": ("Restoring the first frames…", "Die ersten Bilder werden restauriert…"),
    "clip_frames": (
        "Restoring: frame {done} of {total}.",
        "Wird restauriert: Bild {done} von {total}.",
    ),
    "clip_left": ("About {time} left.", "Noch etwa {time}."),
    "clip_preparing": ("Preparing the comparison…", "Der Vergleich wird vorbereitet…"),
    "clip_previewed": (
        "These are the first seconds. Restore the clip to get all of it.",
        "Das sind die ersten Sekunden. Restaurieren Sie das Video, um es ganz zu bekommen.",
    ),
    "clip_whole": (
        "All of it would take about {time}.",
        "Alles zusammen dauert etwa {time}.",
    ),
    "clip_done": (
        "The clip is restored. Play it, then download it.",
        "Das Video ist restauriert. Sehen Sie es an, dann laden Sie es herunter.",
    ),
    "clip_downloaded": (
        "Downloaded {name}. Upload and result have been deleted here; what you still see is "
        "only in your browser.",
        "{name} ist heruntergeladen. Video und Ergebnis sind hier gelöscht worden; was Sie noch "
        "sehen, ist nur in Ihrem Browser.",
    ),
    "clip_long": (
        "The clip lasts {size}; this page takes up to {most}. Cut it, or ask whoever runs the page "
        "to start it with --max-clip-seconds {suggested}.",
        "Das Video dauert {size}; diese Seite nimmt bis zu {most}. Kürzen Sie es, oder bitten Sie, "
        "wer die Seite betreibt, sie mit --max-clip-seconds {suggested} zu starten.",
    ),
    "clip_frames_large": (
        "Its frames are larger than this page takes. Make the clip smaller.",
        "Seine Bilder sind größer, als diese Seite sie nimmt. Verkleinern Sie das Video.",
    ),
    "clip_hdr": (
        "The clip is HDR ({kind}), whose brightness would come out wrong. Convert it to SDR first.",
        "Das Video ist HDR ({kind}); seine Helligkeit würde falsch. Wandeln Sie es erst in SDR um.",
    ),
    "clip_failed": (
        "The clip cannot be restored: it is damaged, or its frames change their size midway. "
        "Convert it to MP4 first.",
        "Das Video kann nicht restauriert werden: es ist beschädigt, oder seine Bilder ändern "
        "unterwegs die Größe. Wandeln Sie es erst in MP4 um.",
    ),
    "clip_too_long": (
        "It was given up after {limit}, the time limit for a clip on this page. Cut it, or make it "
        "smaller.",
        "Nach {limit}, der Höchstzeit für ein Video auf dieser Seite, wurde es aufgegeben. Kürzen "
        "oder verkleinern Sie es.",
    ),
    "clip_deinterlaced": (
        "Its interlaced frames were made whole.",
        "Seine Halbbilder wurden zu ganzen gemacht.",
    ),
    "clip_rgb": (
        "It was not coloured: its frames are RGB.",
        "Es wurde nicht koloriert: seine Bilder sind RGB.",
    ),
    "clip_steadied": ("steadied", "beruhigt"),
    "clip_doubled": ("frame rate doubled", "Bildrate verdoppelt"),
    "clip_size": (
        "{width} × {height} pixels, {frames} frames, {rate:.4g} a second",
        "{width} × {height} Pixel, {frames} Bilder, {rate:.4g} in der Sekunde",
    ),
    "clip_strength": ("strength {strength:g}", "Stärke {strength:g}"),
    "clip_encoder": ("Written with", "Geschrieben mit"),
    "clip_frames_failed": (
        "{count} frames could not be restored and are as they were.",
        "{count} Bilder konnten nicht restauriert werden und sind, wie sie waren.",
    ),
    # Details.
    "detected": ("Detected", "Erkannt"),
    "what_done": ("Done", "Getan"),
    "size": ("Size", "Größe"),
    "models": ("Models", "Modelle"),
    "settings": ("Settings", "Einstellungen"),
    "metadata": ("Metadata", "Metadaten"),
    "download": ("Download", "Download"),
    "faces": ("Faces", "Gesichter"),
    "notes": ("Notes", "Hinweise"),
    "input_hash": ("SHA-256 of the input", "SHA-256 der Eingabe"),
    "output_hash": ("SHA-256 of the download", "SHA-256 des Downloads"),
    "a_grey_photo": ("a grey photo", "ein graues Foto"),
    "a_colour_photo": ("a colour photo", "ein Farbfoto"),
    "blur_removed": ("blur removed", "Unschärfe entfernt"),
    "coloured": ("coloured", "koloriert"),
    "own_colours": ("its own colours kept", "eigene Farben behalten"),
    "in_seconds": ("{what}, in {seconds:.1f} s", "{what}, in {seconds:.1f} s"),
    "pixels": (
        "{width} × {height} pixels, {bits} bits a channel",
        "{width} × {height} Pixel, {bits} Bit je Kanal",
    ),
    "strength_is": (
        "strength {strength:g}, saturation {saturation:g}",
        "Stärke {strength:g}, Sättigung {saturation:g}",
    ),
    "shake": ("Shake", "Verwacklung"),
    "shake_path": ("Its path", "Ihr Weg"),
    "shake_found": (
        "{length} pixels long, direction {direction}°; {share} % of the photo was changed.",
        "{length} Pixel lang, Richtung {direction}°; {share} % des Fotos wurden geändert.",
    ),
    "shake_too_small": (
        "The photo is too small to look for one.",
        "Das Foto ist zu klein, um nach einer zu suchen.",
    ),
    "shake_large_kernel": (
        "The photo is less than twice as large as the blur.",
        "Das Foto ist nicht doppelt so groß wie die Unschärfe.",
    ),
    "shake_no_time": (
        "There was not enough time; the photo is as the model restores it.",
        "Die Zeit reichte nicht; das Foto ist, wie das Modell es restauriert.",
    ),
    "shake_no_shake": (
        "There is none that the model leaves.",
        "Es gibt keine, die das Modell nicht entfernt.",
    ),
    "shake_no_kernel": (
        "No path was found with which the photo becomes plainly sharper, so it is as the model "
        "restores it.",
        "Kein Weg wurde gefunden, mit dem das Foto deutlich schärfer wird; es ist, wie das Modell "
        "es restauriert.",
    ),
    "shake_no_path": (
        "What was found is in pieces, not the path of a camera, so the photo is as the model "
        "restores it.",
        "Was gefunden wurde, ist zerstückelt, nicht der Weg einer Kamera; das Foto ist, wie das "
        "Modell es restauriert.",
    ),
    "shake_disagreement": (
        "Two ways of looking for it found different ones, so the photo is as the model restores "
        "it.",
        "Zwei Wege, nach ihr zu suchen, fanden Verschiedenes; das Foto ist, wie das Modell es "
        "restauriert.",
    ),
    "shake_rougher": (
        "With it the photo became rougher, not sharper, so it is as the model restores it.",
        "Mit ihr wurde das Foto rauer statt schärfer; es ist, wie das Modell es restauriert.",
    ),
    "shake_not_the_photo": (
        "Blurred again, the result was not the photo, so it is as the model restores it.",
        "Wieder verwackelt war das Ergebnis nicht das Foto; es ist, wie das Modell es restauriert.",
    ),
    "shake_partly": (
        "The rest is as the model restores it: there this does not explain the photo.",
        "Der Rest ist, wie das Modell ihn restauriert: dort erklärt sie das Foto nicht.",
    ),
    "shake_doubtful": (
        "It is not certain, so a part of what the model restores stays everywhere.",
        "Sie ist nicht sicher; überall bleibt ein Teil dessen, was das Modell restauriert.",
    ),
    "patient_info": (
        "For photos that are shaken all over: looks for the path of the camera. About {time} a "
        "photo.",
        "Für ganz verwackelte Fotos: sucht den Weg der Kamera. Etwa {time} je Foto.",
    ),
    "in_painted": ("only where it was painted, in {region}", "nur wo gemalt wurde, in {region}"),
    "one_hint": ("1 colour given", "1 Farbe angegeben"),
    "many_hints": ("{count} colours given", "{count} Farben angegeben"),
    "no_hints": (
        "These colours cannot be taken. Click inside the photo.",
        "Diese Farben können nicht genommen werden. Klicken Sie in das Foto.",
    ),
    "in_region": ("only inside {region}", "nur in {region}"),
    "metadata_removed": ("removed", "entfernt"),
    "metadata_kept": ("kept, but for the place", "behalten, bis auf den Ort"),
    "one_face": ("1 face", "1 Gesicht"),
    "many_faces": ("{count} faces", "{count} Gesichter"),
    "no_faces": ("no faces", "Keine Gesichter"),
    "faces_found": (
        "{faces} found and blurred. Some are missed: look at the picture.",
        "{faces} gefunden und unkenntlich gemacht. Manche werden übersehen: sehen Sie nach.",
    ),
    "shown_at": (
        "Shown at {width} × {height}, and in full where you zoom in; the download has full size.",
        "Gezeigt mit {width} × {height}, vergrößert in voller Auflösung; der Download hat die "
        "volle Größe.",
    ),
    "written_as": (
        "{format} cannot be written; the download is PNG.",
        "{format} kann nicht geschrieben werden; der Download ist PNG.",
    ),
    "download_one": ("Download", "Herunterladen"),
    "download_all": ("Download all", "Alle herunterladen"),
    "short": ("{count:.1f} seconds", "{count:.1f} Sekunden"),
    "one_second": ("1 second", "1 Sekunde"),
    "seconds": ("{count:.0f} seconds", "{count:.0f} Sekunden"),
    "minutes": ("{count:.0f} minutes", "{count:.0f} Minuten"),
    # What there is to choose.
    "restore_only": ("Restore only", "Nur restaurieren"),
    "restore_colorize": ("Restore + Colorize", "Restaurieren + Kolorieren"),
    "always_colorize": ("Always colorize", "Immer kolorieren"),
    "no_colorizer": (
        "Restore only: removes blur. Colouring needs a colorizer model, and none is installed "
        "here.",
        "Nur restaurieren: entfernt Unschärfe. Zum Kolorieren fehlt hier ein Modell.",
    ),
    "mode_info": (
        "Restore only: removes blur. Restore + Colorize: also colours grey photos. Always "
        "colorize: colours every photo anew. Colour is a guess, not a record.",
        "Nur restaurieren: entfernt Unschärfe. Restaurieren + Kolorieren: färbt auch graue Fotos. "
        "Immer kolorieren: färbt jedes Foto neu. Farbe ist geraten, nicht überliefert.",
    ),
    "your_model": ("your own model", "Ihr eigenes Modell"),
    "closest": ("closest to the truth", "am nächsten an der Wahrheit"),
    "crisper": (
        "crisper textures, partly invented",
        "schärfere Strukturen, zum Teil erfunden",
    ),
}

#: Labels of Gradio's controls.
LABELS: dict[str, tuple[str, str]] = {
    "restore": ("Restore", "Restaurieren"),
    "find_moments": (
        "What happened during the exposure?",
        "Was geschah während der Belichtung?",
    ),
    "cancel": ("Cancel", "Abbrechen"),
    "mode": ("What to do", "Was zu tun ist"),
    "auto_detect": ("Auto-detect grayscale", "Graustufen erkennen"),
    "auto_detect_info": (
        "Restore + Colorize leaves colour photos in their own colours.",
        "Restaurieren + Kolorieren lässt Farbfotos ihre eigenen Farben.",
    ),
    "model": ("Model", "Modell"),
    "model_info": ("Which network removes the blur.", "Welches Netz die Unschärfe entfernt."),
    "strength": ("Deblur strength", "Stärke der Schärfung"),
    "strength_info": ("0 leaves the blur as it is.", "0 lässt die Unschärfe, wie sie ist."),
    "saturation": ("Saturation", "Sättigung"),
    "saturation_info": ("0 is grey, 1 as it comes.", "0 ist grau, 1 wie es kommt."),
    "remove_metadata": ("Remove metadata", "Metadaten entfernen"),
    "remove_metadata_info": (
        "No camera, date or author in the download. The place is always removed.",
        "Keine Kamera, kein Datum, kein Autor im Download. Der Ort wird immer entfernt.",
    ),
    "blur_faces": ("Blur faces", "Gesichter unkenntlich machen"),
    "blur_faces_info": (
        "For good, in the download and on this page. Some faces are missed: look.",
        "Endgültig, im Download und auf dieser Seite. Manche werden übersehen: sehen Sie nach.",
    ),
    "patient": ("Heavy shake: take the time", "Stark verwackelt: Zeit nehmen"),
    "visible_mark": ("Mark as colourised", "Als koloriert kennzeichnen"),
    "visible_mark_info": (
        "Writes “colourised” into the corner. The metadata says so anyway.",
        "Schreibt „colourised“ in die Ecke. In den Metadaten steht es ohnehin.",
    ),
    "delete_after": ("Delete after download", "Nach dem Download löschen"),
    "delete_after_info": (
        "Upload and result are deleted as soon as the result is downloaded.",
        "Foto und Ergebnis werden gelöscht, sobald das Ergebnis heruntergeladen ist.",
    ),
    "restore_clip": ("Restore the clip", "Video restaurieren"),
    "preview_clip": ("Preview", "Vorschau"),
    "clip_colors": ("Colour grey footage", "Schwarzweißes kolorieren"),
    "clip_colors_info": (
        "Only if all of it is grey. Colour is a guess, not a record.",
        "Nur wenn alles grau ist. Farbe ist geraten, nicht überliefert.",
    ),
    "steady": ("Steady", "Ruhig"),
    "steady_info": (
        "Takes neighbouring frames along, so that nothing flickers.",
        "Nimmt benachbarte Bilder hinzu, damit nichts flackert.",
    ),
    "smooth": ("Double the frame rate", "Bildrate verdoppeln"),
    "smooth_info": (
        "Puts a frame between every two.",
        "Setzt zwischen je zwei Bilder ein weiteres.",
    ),
    "clip_delete_info": (
        "Clip and result are deleted as soon as the result is downloaded.",
        "Video und Ergebnis werden gelöscht, sobald das Ergebnis heruntergeladen ist.",
    ),
    "format": ("Format of the download", "Format des Downloads"),
    "format_info": (
        "“As uploaded” keeps format and depth.",
        "„Wie hochgeladen“ behält Format und Farbtiefe.",
    ),
    "as_uploaded": ("As uploaded", "Wie hochgeladen"),
    "quality": ("Quality", "Qualität"),
    "quality_info": ("Of JPEG and WebP.", "Von JPEG und WebP."),
}

#: What the browser's own scripts and templates say.
SCRIPTS: dict[str, tuple[str, str]] = {
    "lead": (
        "Removes motion blur from photos and clips and, when asked, colours grey ones. For "
        "research use: details and colours in a result may be wrong.",
        "Entfernt Bewegungsunschärfe aus Fotos und Videos und färbt auf Wunsch graue. Für die "
        "Forschung: Einzelheiten und Farben eines Ergebnisses können falsch sein.",
    ),
    "photos": ("Photos", "Fotos"),
    "video": ("Video", "Video"),
    "what_to_restore": ("What to restore", "Was zu restaurieren ist"),
    "add_clip": ("Choose a clip", "Video wählen"),
    "replace_clip": ("Choose another clip", "Anderes Video wählen"),
    "clip_hint": (
        "or drop it anywhere on the page: up to {seconds} and {megabytes} MB, MP4, MOV, MKV, WebM, "
        "AVI and others",
        "oder irgendwo auf der Seite ablegen: bis zu {seconds} und {megabytes} MB, MP4, MOV, MKV, "
        "WebM, AVI und andere",
    ),
    "length_seconds": ("{count} seconds", "{count} Sekunden"),
    "length_minutes": ("{count} minutes", "{count} Minuten"),
    "clip_heavy": (
        "The clip has {size} MB; this page takes up to {most} MB. Cut it, or ask whoever runs the "
        "page to start it with --max-clip-mb {size}.",
        "Das Video hat {size} MB; diese Seite nimmt bis zu {most} MB. Kürzen Sie es, oder bitten "
        "Sie, wer die Seite betreibt, sie mit --max-clip-mb {size} zu starten.",
    ),
    "clip_lasts": (
        "The clip lasts {size} seconds; this page takes up to {most}. Cut it, or ask whoever runs "
        "the page to start it with --max-clip-seconds {size}.",
        "Das Video dauert {size} Sekunden; diese Seite nimmt bis zu {most}. Kürzen Sie es, oder "
        "bitten Sie, wer die Seite betreibt, sie mit --max-clip-seconds {size} zu starten.",
    ),
    "one_clip": (
        "One clip at a time: the first one was taken.",
        "Ein Video auf einmal: das erste wurde genommen.",
    ),
    "film_empty": (
        "The restored clip plays here, beside the original.",
        "Hier läuft das restaurierte Video neben dem ursprünglichen.",
    ),
    "film_screen": (
        "Before and after, playing together. Space plays and stops, comma and full stop step "
        "through frames, B held shows before, F fills the screen.",
        "Vorher und nachher, zugleich abgespielt. Die Leertaste startet und hält an, Komma und "
        "Punkt gehen bildweise, B gehalten zeigt vorher, F füllt den Bildschirm.",
    ),
    "film_unplayable": (
        "This browser cannot play the comparison (H.264). The download is not affected.",
        "Dieser Browser kann den Vergleich nicht abspielen (H.264). Der Download geht trotzdem.",
    ),
    "film_preview": ("the first seconds", "die ersten Sekunden"),
    "play": ("Play", "Abspielen"),
    "pause": ("Pause", "Anhalten"),
    "moments_screen": (
        "What happened during the exposure, played",
        "Was während der Belichtung geschah, als kleiner Film",
    ),
    "moments_position": ("Moment of the exposure", "Augenblick der Belichtung"),
    "moments_turn": ("The other direction", "Andere Richtung"),
    "moments_save": ("Download", "Herunterladen"),
    "moments_note": (
        "The direction is a guess: a blurred photo does not tell which end of a motion came first.",
        "Die Richtung ist geraten: Ein unscharfes Foto sagt nicht, welches Ende einer Bewegung "
        "zuerst kam.",
    ),
    "film_position": ("Position in the clip", "Stelle im Video"),
    "film_slow": ("Slowly", "Langsam"),
    "film_sound": ("Sound", "Ton"),
    "frame_back": ("One frame back", "Ein Bild zurück"),
    "frame_on": ("One frame on", "Ein Bild weiter"),
    "add": ("Choose photos", "Fotos wählen"),
    "add_more": ("Add photos", "Fotos hinzufügen"),
    "hint": (
        "or drop them anywhere on the page, or paste them",
        "oder irgendwo auf der Seite ablegen oder einfügen",
    ),
    "drop_here": ("Drop it here", "Hier ablegen"),
    "clear": ("Remove all", "Alle entfernen"),
    "remove": ("Remove {name}", "{name} entfernen"),
    "show": ("Show {name}", "{name} zeigen"),
    "dismiss": ("Dismiss the note about {name}", "Hinweis zu {name} schließen"),
    "uploading": ("{percent} % uploaded", "{percent} % hochgeladen"),
    "starts_when_there": (
        "Restoring begins when all photos are here.",
        "Das Restaurieren beginnt, wenn alle Fotos da sind.",
    ),
    "upload_failed": (
        "It could not be uploaded: the page cannot reach its server. Try again.",
        "Hochladen gescheitert: die Seite erreicht ihren Server nicht. Versuchen Sie es noch "
        "einmal.",
    ),
    "logged_out": (
        "You are not logged in any more. Load the page again.",
        "Sie sind nicht mehr angemeldet. Laden Sie die Seite neu.",
    ),
    "state_new": ("ready", "bereit"),
    "state_waiting": ("waiting", "wartet"),
    "state_working": ("working", "in Arbeit"),
    "state_done": ("restored", "restauriert"),
    "state_failed": ("not restored", "nicht restauriert"),
    "camera": ("Take a photo", "Foto aufnehmen"),
    "camera_take": ("Take it", "Aufnehmen"),
    "camera_stop": ("Close the camera", "Kamera schließen"),
    "camera_denied": (
        "The camera cannot be used: {reason}",
        "Die Kamera ist nicht zu benutzen: {reason}",
    ),
    "camera_name": ("Photo from the camera", "Foto von der Kamera"),
    "pasted_name": ("Pasted photo", "Eingefügtes Foto"),
    "expires": (
        "What you uploaded will be deleted here in {seconds} seconds.",
        "Was Sie hochgeladen haben, wird hier in {seconds} Sekunden gelöscht.",
    ),
    "keep": ("Keep them", "Behalten"),
    "empty": (
        "The restored photo appears here, beside the original.",
        "Hier erscheint das restaurierte Foto neben dem ursprünglichen.",
    ),
    "loading": ("Loading the comparison…", "Der Vergleich wird geladen…"),
    "view": ("View", "Ansicht"),
    "slider": ("Slider", "Schieber"),
    "beside": ("Side by side", "Nebeneinander"),
    "zoom": ("Zoom", "Vergrößerung"),
    "zoom_out": ("Zoom out", "Verkleinern"),
    "zoom_in": ("Zoom in", "Vergrößern"),
    "fit": ("Fit", "Einpassen"),
    "pixels": ("Zoom to pixels", "Auf Pixel vergrößern"),
    "full_screen": ("Full screen", "Ganzer Bildschirm"),
    "before": ("Before", "Vorher"),
    "after": ("After", "Nachher"),
    "hold": ("Hold for before", "Halten: vorher"),
    "pin": ("Keep to compare", "Merken"),
    "example_coffee": ("Cup of coffee", "Tasse Kaffee"),
    "example_cat": ("Cat", "Katze"),
    "example_rocket": ("Rocket launch", "Raketenstart"),
    "example_clock": ("A moving clock, grey", "Eine bewegte Uhr, grau"),
    "example_blurred": ("Blurred for this example.", "Für dieses Beispiel verwischt."),
    "example_real": ("Real motion blur.", "Echte Bewegungsunschärfe."),
    "unpin": ("Compare with the original", "Mit dem Original vergleichen"),
    "pinned": ("Earlier: {label}", "Früher: {label}"),
    "mark": ("Mark a part", "Teil markieren"),
    "unmark": ("Whole photo", "Ganzes Foto"),
    "mark_hint": (
        "Draw a rectangle: Restore changes only what is inside.",
        "Ziehen Sie ein Rechteck: nur darin wird restauriert.",
    ),
    "brush_hint": (
        "Paint over what Restore may change. Keys: arrows move, the space bar paints, [ and ] "
        "change the size, U takes a stroke back.",
        "Übermalen Sie, was restauriert werden darf. Tasten: Pfeile bewegen, die Leertaste malt, "
        "[ und ] ändern die Größe, U nimmt einen Strich zurück.",
    ),
    "hints": ("Correct colours", "Farben berichtigen"),
    "hint_color": ("Colour", "Farbe"),
    "hint_likely": ("Likely colours", "Wahrscheinliche Farben"),
    "hint_likely_one": ("Likely colour {number}", "Wahrscheinliche Farbe {number}"),
    "hint_undo": ("Take back", "Zurücknehmen"),
    "hint_clear": ("Remove all hints", "Alle Angaben entfernen"),
    "hint_how": (
        "Choose a colour, then click what had it, or draw along it. Keys on the picture: arrows "
        "move, the space bar sets the colour, U takes one back.",
        "Wählen Sie eine Farbe, dann klicken Sie an, was sie hatte, oder ziehen Sie darüber. "
        "Tasten auf dem Bild: Pfeile bewegen, die Leertaste setzt die Farbe, U nimmt eine zurück.",
    ),
    "tools": ("Tool", "Werkzeug"),
    "rectangle": ("Rectangle", "Rechteck"),
    "brush": ("Brush", "Pinsel"),
    "eraser": ("Eraser", "Radierer"),
    "brush_size": ("Size of the brush", "Größe des Pinsels"),
    "undo": ("Undo", "Zurücknehmen"),
    "finish_marking": ("Finish", "Fertig"),
    "mark_label": ("Marked part", "Markierter Teil"),
    "panes": (
        "Before and after. Plus and minus zoom, arrows move, 0 fits, 1 shows pixels, B held shows "
        "before, comma and full stop go to the previous and the next photo, F fills the screen.",
        "Vorher und nachher. Plus und Minus vergrößern, Pfeile bewegen, 0 passt ein, 1 zeigt "
        "Pixel, B gehalten zeigt vorher, Komma und Punkt gehen zum vorigen und nächsten Foto, F "
        "füllt den Bildschirm.",
    ),
    "divider": ("Compare", "Vergleichen"),
    "divider_label": (
        "Position of the dividing line: before to its left, after to its right",
        "Ort der Trennlinie: vorher links davon, nachher rechts",
    ),
    "previous": ("Previous photo", "Voriges Foto"),
    "following": ("Next photo", "Nächstes Foto"),
    "preparing": ("Preparing…", "Wird vorbereitet…"),
    "downloading": ("Downloading…", "Wird heruntergeladen…"),
    "download_gone": (
        "This result has been deleted. Upload the photo again.",
        "Dieses Ergebnis ist gelöscht worden. Laden Sie das Foto neu hoch.",
    ),
    "download_failed": (
        "The download failed: the page cannot reach its server. Try again.",
        "Der Download ist gescheitert: die Seite erreicht ihren Server nicht. Versuchen Sie es "
        "noch einmal.",
    ),
    "details": ("Details", "Einzelheiten"),
    "examples": ("Examples", "Beispiele"),
    "what_is_kept": ("What is kept", "Was aufbewahrt wird"),
    "privacy": (
        "Photos, clips and results lie in a private temporary folder on the computer that serves "
        "this page, and nowhere else. They are deleted after the download if “Delete after "
        "download” is on, {kept} after your last action at the latest, and when the page is shut "
        "down. Nothing is logged that identifies one, and this page asks no other host for "
        "anything.",
        "Fotos, Videos und Ergebnisse liegen in einem privaten Ordner auf dem Rechner, der diese "
        "Seite bereitstellt, und nirgends sonst. Sie werden nach dem Download gelöscht, wenn „Nach "
        "dem Download löschen“ an ist, spätestens {kept} nach Ihrer letzten Handlung, und wenn die "
        "Seite beendet wird. Nichts wird aufgezeichnet, was ein Foto erkennen lässt, und diese "
        "Seite fragt keinen anderen Rechner nach irgendetwas.",
    ),
    "relayed": (
        "Between you and it everything passes through a relay of Gradio's.",
        "Zwischen Ihnen und ihm geht alles durch einen Server von Gradio.",
    ),
    "log_out": ("Log out", "Abmelden"),
    "loading_page": ("The page is loading…", "Die Seite wird geladen…"),
}


class Words:
    """Sentences in one language.

    Args:
        language: One of `LANGUAGES`; any other is English.
    """

    def __init__(self, language: str = LANGUAGES[0]):
        self.language = language if language in LANGUAGES else LANGUAGES[0]
        self._column = LANGUAGES.index(self.language)

    @classmethod
    def of(cls, request: Any) -> "Words":
        """Take the language that the browser of a request asks for."""
        headers = getattr(request, "headers", None) or {}
        return cls(chosen_language(headers.get("accept-language", "")))

    def say(self, name: str, /, **values: Any) -> str:
        """Fill in a sentence of `SENTENCES`."""
        return SENTENCES[name][self._column].format(**values)

    def count(self, one: str, many: str, count: int, /) -> str:
        """Fill in one of two sentences, as there is one or another number of things."""
        return self.say(one if count == 1 else many, count=count)

    def duration(self, seconds: float) -> str:
        """Say a time: `10 minutes`, `45 seconds`."""
        if 0 < seconds < 0.95:
            return self.say("short", count=seconds)
        if round(seconds) == 1:
            return self.say("one_second")
        if seconds < 90:
            return self.say("seconds", count=seconds)
        return self.say("minutes", count=seconds / 60)


def chosen_language(accepted: str) -> str:
    """Choose a language by the header `Accept-Language`: the first that the page speaks.

    Args:
        accepted: Value of the header: `de-AT,de;q=0.9,en;q=0.8`.
    """
    wanted = []
    for position, part in enumerate(accepted.split(",")):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if weight > 0:
            wanted.append((-weight, position, name.split("-")[0].lower()))
    for _, _, language in sorted(wanted):
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]


def for_browser(**values: str | Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Give the sentences of the browser's own scripts, by language and name.

    Args:
        **values: What to fill in: one text for all languages, or one for each.
    """

    def fill(text: str, language: str) -> str:
        for name, value in values.items():
            filled = value if isinstance(value, str) else value[language]
            text = text.replace(f"{{{name}}}", filled)
        return text

    return {
        language: {name: fill(texts[column], language) for name, texts in SCRIPTS.items()}
        for column, language in enumerate(LANGUAGES)
    }


def for_gradio() -> dict[str, dict[str, str]]:
    """Give the labels of Gradio's controls, by language and name."""
    return {
        language: {name: texts[column] for name, texts in LABELS.items()}
        for column, language in enumerate(LANGUAGES)
    }
